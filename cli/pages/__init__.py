"""The pages that commands write: what differs between runs, and between releases."""
