"""Hand-written Cypher, read before Neo4j sees it: what it may say, and how much one expression of it can cost."""
