"""`python -m flywheel`, as `torchrun` starts it."""

from flywheel.cli import main

main()
