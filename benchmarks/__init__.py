"""Speed, memory and scale against the limits we set ourselves, and against peers on the same files."""
