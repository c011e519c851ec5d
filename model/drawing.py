"""`flywheel generate`: prompts and files in, files out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image

from flywheel.errors import FlywheelError, UsageError
from flywheel.images.sandbox import Sandbox
from flywheel.records import Budgets, Failure
from model.bundled import bundled_model
from model.condition import MAX_REFERENCES
from model.data.framing import TASK, Framed, Wanted, decoding
from model.lora import merge
from model.precision import best_device
from model.sample import ImageModel, Sampling

_SIZE = re.compile(r"(\d+)[x×](\d+)")
_AT_ONCE = 8  # pictures through the network together


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    file: Path
    prompt: str
    seed: int


def draw(
    prompts: Sequence[str],
    references: Sequence[Path],
    out: Path,
    folder: Path | None,
    *,
    size: str | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    seed: int = 0,
    lora: Path | None = None,
) -> list[Drawn]:
    """A PNG a prompt in `out`. An edit takes the aspect ratio of the last reference where no size is given.

    Raises UsageError for sizes and references that cannot be, FlywheelError for files that are no pictures.
    """
    if len(references) > MAX_REFERENCES:
        raise UsageError(f"at most {MAX_REFERENCES} references, not {len(references)}")
    device = best_device()
    model = ImageModel.load_pretrained(folder or bundled_model(), device)
    if lora is not None:
        merge(model.network, lora)
    if device.type != "cpu":
        model.network.to(torch.bfloat16)
    seen = _read(references, round((model.sampling.width_px * model.sampling.height_px) ** 0.5), model)
    sampling = _sampling(model.sampling, size, steps, guidance, seen)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FlywheelError(f"{out} cannot be made: {error}") from error
    drawn = []
    for start in range(0, len(prompts), _AT_ONCE):
        part = prompts[start : start + _AT_ONCE]
        seeds = [seed + start + at for at in range(len(part))]
        pictures = model.generate(part, seeds, sampling, [seen] * len(part))
        for prompt, own, picture in zip(part, seeds, pictures, strict=True):
            file = _place(out, prompt, own)
            picture.save(file)
            drawn.append(Drawn(file=file, prompt=prompt, seed=own))
    return drawn


def _sampling(
    usual: Sampling, size: str | None, steps: int | None, guidance: float | None, seen: Sequence[Image.Image]
) -> Sampling:
    width, height = usual.width_px, usual.height_px
    if size is not None:
        read = _SIZE.fullmatch(size)
        if read is None:
            raise UsageError(f"a size is WIDTHxHEIGHT in pixels, not {size!r}")
        width, height = int(read[1]), int(read[2])
    elif seen:
        width, height = seen[-1].size
    try:
        return replace(
            usual,
            width_px=width,
            height_px=height,
            steps=steps or usual.steps,
            sigmas=None if steps else usual.sigmas,
            guidance=usual.guidance if guidance is None else guidance,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error


def _read(references: Sequence[Path], side_px: int, model: ImageModel) -> list[Image.Image]:
    """Each cut to its aspect ratio's bucket about this side, as in training; decoded in a sandbox."""
    if not references:
        return []
    budgets = Budgets()
    asked = []
    for path in references:
        try:
            data = path.read_bytes() if path.stat().st_size <= budgets.max_bytes else b""
        except OSError as error:
            raise FlywheelError(f"{path} cannot be read: {error}") from error
        asked.append(Wanted(data=data, sides_px=(side_px,), pixels=True, at_any_rate=True))
    found = []
    child: Sandbox[Wanted, Framed]
    with decoding(TASK, model.vae.config.in_channels == 4) as child:
        for path, answer in zip(references, child.run(asked), strict=True):
            if isinstance(answer, Failure) or answer.pixels is None:
                why = f"{answer.reason.value}: {answer.detail}" if isinstance(answer, Failure) else "no picture"
                raise FlywheelError(f"{path} cannot be used: {why}")
            found.append(Image.fromarray(answer.pixels))
    return found


def _place(out: Path, prompt: str, seed: int) -> Path:
    """A name that tells the prompt and is nobody's yet."""
    stem = re.sub(r"[^\w]+", "-", prompt.lower(), flags=re.ASCII).strip("-")[:60] or "picture"
    names = (f"{stem}-{seed}{more}.png" for more in ("", *(f"-{again}" for again in range(2, 10_000))))
    return next(out / name for name in names if not (out / name).exists())
