"""The tests here call the command as the shell does: `calling.py` beside them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

# A small image model and pictures to train it on are shared with the trainer's own tests.
sys.path.insert(0, str(Path(__file__).parents[1] / "model"))
