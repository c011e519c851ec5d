"""Weights that others publish, pinned: what `flywheel models pull` may fetch.

The aesthetic heads were trained on OpenAI's vectors, so the profiles `cpu` and `full` see with OpenAI's models. Nobody
publishes heads for NSFW or watermarks in a format that can be read safely: who has trained some adds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """`size` in bytes. `architecture`: open_clip's name of it; None for a head."""

    url: str
    sha256: str
    size: int
    licence: str
    architecture: str | None = None


PUBLISHED: Mapping[str, Published] = {
    "clip-vit-b-32-1": Published(
        url="https://huggingface.co/timm/vit_base_patch32_clip_224.openai/resolve/"
        "a6f597a30f7b82c51704746581f9a4e41421e878/open_clip_model.safetensors",
        sha256="e6d1bd7789aa45192b3bf90570a789b478bae1b74ebcce7eddd908e83a2b7c31",
        size=605_143_284,
        licence="MIT",
        architecture="ViT-B-32-quickgelu",
    ),
    "clip-vit-l-14-1": Published(
        url="https://huggingface.co/timm/vit_large_patch14_clip_224.openai/resolve/main/open_clip_model.safetensors",
        sha256="9ce2e8a8ebfff3793d7d375ad6d3c35cb9aebf3de7ace0fc7308accab7cd207e",
        size=1_710_517_724,
        licence="MIT",
        architecture="ViT-L-14-quickgelu",
    ),
    "aesthetic-vit-b-32-1": Published(
        url="https://raw.githubusercontent.com/LAION-AI/aesthetic-predictor/main/sa_0_4_vit_b_32_linear.pth",
        sha256="c7b14cead230694acc7b9447974d3cad78003c72da032e402a303b6c2429e85f",
        size=3047,
        licence="MIT",
    ),
    "aesthetic-vit-l-14-1": Published(
        url="https://raw.githubusercontent.com/christophschuhmann/improved-aesthetic-predictor/main/"
        "sac%2Blogos%2Bava1-l14-linearMSE.pth",
        sha256="21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0",
        size=3_714_759,
        licence="Apache-2.0",
    ),
}
