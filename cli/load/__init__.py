"""Commands that load and list evidence."""
