"""Scripts that a peer's own interpreter runs: each does the peer's part of one common job, by itself."""
