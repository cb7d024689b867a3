"""Release to HTTP."""
