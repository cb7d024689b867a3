"""Models, one file or package each."""
