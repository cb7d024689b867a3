"""Other programs, run next to ours."""
