"""The report of a run: sections that every run has and those that its model declares, kept in the run's folder."""
