"""What a frozen network sees in a picture, at one middle layer: the report's choice for an autoencoder is DINOv2-L."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from flywheel.errors import FlywheelError
from model.vae_losses import Features

# Of ImageNet, which DINOv2 was trained on.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def features_from(folder: Path, device: torch.device) -> tuple[Features, int]:
    """A DINOv2 in a folder as transformers has them; and how many channels it sees. Raises FlywheelError for none."""
    from transformers import Dinov2Model

    try:
        model = Dinov2Model.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise FlywheelError(f"{folder} holds no DINOv2: {' '.join(str(error).split())[:160]}") from error
    return MiddleLayer(model).to(device), int(model.config.hidden_size)


class MiddleLayer(nn.Module):
    """Pictures (B, 3 or 4, H, W) in -1..1 to (B, F, h, w); sides are cut to whole patches. Gradients go to the picture alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self.mean = nn.Buffer(torch.tensor(_MEAN).view(1, 3, 1, 1))
        self.deviation = nn.Buffer(torch.tensor(_DEVIATION).view(1, 3, 1, 1))

    def forward(self, image_BCHW: Tensor) -> Tensor:
        config = self.model.config
        patch: int = config.patch_size  # type: ignore[union-attr, assignment]
        layers: int = config.num_hidden_layers  # type: ignore[union-attr, assignment]
        high, wide = (side // patch for side in image_BCHW.shape[-2:])
        shown = (image_BCHW[:, :3, : high * patch, : wide * patch] + 1) / 2
        told = self.model((shown - self.mean) / self.deviation, output_hidden_states=True)
        patches: Tensor = told.hidden_states[layers // 2][:, 1:]  # the first is of the whole picture
        return patches.transpose(1, 2).reshape(len(patches), -1, high, wide)
