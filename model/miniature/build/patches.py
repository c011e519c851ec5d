"""Pictures as the values of patches, in the order in which Qwen3-VL's image processor gives them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from model.miniature.build.checkpoint import GRID, MERGE, PATCH_PX, SIDE_PX


def patchify(pixels: np.ndarray) -> Tensor:
    """(images, SIDE_PX, SIDE_PX, 3) uint8 to (images, GRID * GRID, 3 * 2 * PATCH_PX**2) in -1..1.

    Every picture is shown twice, as a video of two frames: Qwen's patches have a depth in time.
    """
    images = len(pixels)
    assert pixels.shape == (images, SIDE_PX, SIDE_PX, 3)
    values = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    blocks = GRID // MERGE
    cut = values.view(images, 1, 3, blocks, MERGE, PATCH_PX, blocks, MERGE, PATCH_PX)
    cut = cut.expand(images, 2, 3, blocks, MERGE, PATCH_PX, blocks, MERGE, PATCH_PX)
    ordered = cut.permute(0, 3, 6, 4, 7, 2, 1, 5, 8)
    return ordered.reshape(images, GRID * GRID, 3 * 2 * PATCH_PX * PATCH_PX)
