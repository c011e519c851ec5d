"""What a trainer is shown: examples, their frames, and what the frozen encoders made of them."""
