"""How good a reconstruction is: PSNR, SSIM, and whether text can still be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from rapidfuzz.distance import Levenshtein
from torch import Tensor

Read = Callable[[Image.Image], str]  # all text of a picture, by an OCR


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """`psnr` in dB and `ssim`, means over pictures. `ned`: 1 less the share of signs that are read otherwise than in the
    original, over pictures in which anything is read; None where nothing is, or nobody reads."""

    pictures: int
    psnr: float
    ssim: float
    ned: float | None


def psnr(made_BCHW: Tensor, image_BCHW: Tensor) -> Tensor:
    """(B,) dB, of pictures in -1..1."""
    off = (made_BCHW.clamp(-1, 1) - image_BCHW).double().square().flatten(1).mean(dim=1)
    return 10 * torch.log10(4 / off.clamp(min=1e-10))


def quality(made_BCHW: Tensor, image_BCHW: Tensor, read: Read | None = None) -> Quality:
    """Pictures in -1..1, 11 px or more a side."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    ssim = structural_similarity_index_measure(made_BCHW.clamp(-1, 1), image_BCHW, data_range=(-1.0, 1.0))
    assert isinstance(ssim, Tensor)
    return Quality(
        pictures=len(image_BCHW),
        psnr=float(psnr(made_BCHW, image_BCHW).mean()),
        ssim=float(ssim),
        ned=None if read is None else _read_alike(made_BCHW, image_BCHW, read),
    )


def _read_alike(made_BCHW: Tensor, image_BCHW: Tensor, read: Read) -> float | None:
    pairs = [(read(_picture(image)), read(_picture(made))) for image, made in zip(image_BCHW, made_BCHW, strict=True)]
    alike = [Levenshtein.normalized_similarity(wanted, found) for wanted, found in pairs if wanted]
    return float(np.mean(alike)) if alike else None


def joined(parts: Sequence[Quality]) -> Quality:
    """The means over all of them. Raises ValueError for none."""
    number = sum(part.pictures for part in parts)
    if not number:
        raise ValueError("no pictures")
    told = [(part.ned, part.pictures) for part in parts if part.ned is not None]
    return Quality(
        pictures=number,
        psnr=sum(part.psnr * part.pictures for part in parts) / number,
        ssim=sum(part.ssim * part.pictures for part in parts) / number,
        ned=sum(ned * weight for ned, weight in told) / sum(weight for _, weight in told) if told else None,
    )


def _picture(image_CHW: Tensor) -> Image.Image:
    levels = ((image_CHW[:3].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).cpu().numpy())
