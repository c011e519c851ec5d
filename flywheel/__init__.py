"""Flywheel: a data engine and closed loop for text-to-image models."""

__version__ = "0.1.0"
