"""Training: what is seen when, what is done with it, what is kept."""
