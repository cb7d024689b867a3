"""Commands that train, compare and keep runs."""
