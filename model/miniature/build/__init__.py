"""Trains every weight that the miniature ships, from nothing but this repository: `python -m model.miniature.build`."""
