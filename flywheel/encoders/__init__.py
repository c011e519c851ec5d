"""Model-backed encoders: small protocols and the one implementation of each, loaded lazily."""
