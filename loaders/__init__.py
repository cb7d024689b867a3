"""Files become checked rows of declared types; rows that break a rule are kept with file, line and reason."""
