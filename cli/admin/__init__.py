"""Commands that look after the server and the home."""
