"""The seeded world behind `regkg simulate`: its genome, its programs and its files."""
