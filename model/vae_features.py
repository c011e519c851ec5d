"""What a frozen network sees in a picture, at one middle layer. The report's choice for an autoencoder is DINOv2-L; any picture
tower of open_clip's does too, the bundled one among them, which sees the rendered world.

Pictures (B, 3 or 4, H, W) in -1..1 to (B, F, h, w). Gradients go to the picture alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from flywheel.encoders import clip
from flywheel.errors import FlywheelError
from model.vae_losses import Features

# Of ImageNet, which DINOv2 was trained on.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def features_from(folder: Path, device: torch.device) -> tuple[Features, int]:
    """A DINOv2 in a folder as transformers has them, or an open_clip model; and how many channels it sees.

    Raises FlywheelError for neither.
    """
    net = _of_clip(folder) if (folder / clip.CONFIG).is_file() else _of_dinov2(folder)
    return net.to(device), net.channels


class Levelled(nn.Module):
    """A frozen network that takes pictures at levels of its own."""

    def __init__(self, model: nn.Module, mean: Sequence[float], deviation: Sequence[float], channels: int) -> None:
        super().__init__()
        self.model, self.channels = model.eval().requires_grad_(False), channels
        self.mean = nn.Buffer(torch.tensor(mean).view(1, 3, 1, 1))
        self.deviation = nn.Buffer(torch.tensor(deviation).view(1, 3, 1, 1))

    def levelled(self, image_BCHW: Tensor) -> Tensor:
        found: Tensor = ((image_BCHW[:, :3] + 1) / 2 - self.mean) / self.deviation
        return found


class DinoLayer(Levelled):
    """Sides are cut to whole patches."""

    def forward(self, image_BCHW: Tensor) -> Tensor:
        config: Any = self.model.config
        high, wide = (side // config.patch_size for side in image_BCHW.shape[-2:])
        shown = self.levelled(image_BCHW[:, :, : high * config.patch_size, : wide * config.patch_size])
        told = self.model(shown, output_hidden_states=True)
        patches: Tensor = told.hidden_states[config.num_hidden_layers // 2][:, 1:]  # the first is of the whole picture
        return patches.transpose(1, 2).reshape(len(patches), -1, high, wide)


class ClipLayer(Levelled):
    """Sees pictures at one size: others are made to it."""

    def forward(self, image_BCHW: Tensor) -> Tensor:
        tower: Any = self.model
        shown = interpolate(self.levelled(image_BCHW), tower.image_size, mode="bilinear", antialias=True)
        middle = len(tower.transformer.resblocks) // 2
        told = tower.forward_intermediates(shown, indices=[middle], intermediates_only=True, output_fmt="NCHW")
        features: Tensor = told["image_intermediates"][0]
        return features


def _of_dinov2(folder: Path) -> DinoLayer:
    from transformers import Dinov2Model

    try:
        model = Dinov2Model.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise FlywheelError(
            f"{folder} holds neither a DINOv2 nor an open_clip model: {' '.join(str(error).split())[:160]}"
        ) from error
    return DinoLayer(model, _MEAN, _DEVIATION, int(model.config.hidden_size))


def _of_clip(folder: Path) -> ClipLayer:
    tower, mean, deviation = clip.vision_tower(folder)
    return ClipLayer(tower, mean, deviation, int(tower.transformer.width))
