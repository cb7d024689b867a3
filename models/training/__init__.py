"""The training loop and what it rests on."""
