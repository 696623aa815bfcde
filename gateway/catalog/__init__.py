"""Models: names to candidates."""
