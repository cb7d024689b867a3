"""The engine of questions: plans of reads, their scope, pages and registry."""
