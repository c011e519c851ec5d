"""The step engine, its executors, and the flows that run on them."""
