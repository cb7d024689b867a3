"""People to everything: the command line."""
