"""Other programs, run beside ours."""
