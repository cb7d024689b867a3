"""Rollback, backup and restore, migrations and health of a whole home."""
