"""The fonts that the world is written in, cut down to its signs."""
