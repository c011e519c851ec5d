"""Where the bundled generator ends: longer prompts, other scripts, other sizes. Curves, not gates."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.figures import Figure, Findings
from model.bundled import bundled_model
from model.layout import text_to_image
from model.miniature import drawing_exam, levels, segmented
from model.miniature.verdict import Verdict
from model.mmdit import MMDiT, MMDiTConfig
from model.sample import ImageModel, Sampling
from model.vae import VAE, release_config
from model.vae_tiling import decode_tiled

NUMBER, ROLE = 64, "report"
LENGTHS = (64, 256, 1000)  # tokens
SIZES = ((64, 64), (96, 96), (128, 128), (256, 256), (96, 288), (144, 96), (96, 144), (288, 96))  # width, height; px
_FILLER = "Take your time and draw it with care. Nothing else is to be seen."


def run(place: Path) -> Findings:
    """Shares of pictures that checker B finds right."""
    model = ImageModel.load_pretrained(bundled_model())
    tables = [_by_length(model), _by_script(model), _by_size(model)]
    seconds, gigabytes = _at_2048()
    figures = [
        Figure(name="2048 x 2048 px: one forward pass and a decode in tiles", measured=seconds, unit="s"),
        Figure(name="the highest resident set at that", measured=gigabytes, unit="GB"),
    ]
    how = (
        f"{NUMBER} prompts of role {ROLE} a point, the bundled model as it samples by itself; sizes other than 96 x 96 px were never trained. "
        "2048 px: a network of width 256 and 4 layers, 16,384 tokens; the release's autoencoder at 16 channels of width, tiles of 512 px."
    )
    return Findings(title="Where the generator ends", how=how, figures=figures, below=tables)


def _by_length(model: ImageModel) -> str:
    """L2's scenes and L4's words behind so many tokens of talk that asks for nothing."""
    rows = []
    for tokens in (0, *LENGTHS):
        found = []
        for level in ("L2", "L4"):
            asked = levels.prompts(level, NUMBER, ROLE)
            texts = [_lengthened(model, one.text, tokens) for one in asked]
            found.append(_right(model, asked, texts, model.sampling))
        scenes, words = found
        rows.append(
            f"| {tokens or 'as it is'} | {_share(scenes, 'exact')} | {_share(words, 'exact')} | {_share(words, 'words')} |"
        )
    head = ["### Longer prompts", "", "| tokens | L2 | L4 | every sign |", "|---|---|---|---|"]
    return "\n".join([*head, *rows, ""])


def _by_script(model: ImageModel) -> str:
    rows = []
    for script in ("latin", *levels.LEVELS["L5"].scripts):
        level = replace(levels.LEVELS["L5"], scripts=(script,))
        asked = levels.prompts_of(level, NUMBER, ROLE)
        verdicts = _right(model, asked, [one.text for one in asked], model.sampling)
        rows.append(f"| {script} | {_share(verdicts, 'exact')} | {_share(verdicts, 'words')} |")
    return "\n".join(["### Scripts", "", "| script | exact | every sign, in order |", "|---|---|---|", *rows, ""])


def _by_size(model: ImageModel) -> str:
    asked = levels.prompts("L2", NUMBER, ROLE)
    rows = []
    for width, height in SIZES:
        sampling = replace(model.sampling, width_px=width, height_px=height)
        verdicts = _right(model, asked, [one.text for one in asked], sampling)
        shares = " | ".join(_share(verdicts, facet) for facet in ("exact", "places", "shapes"))
        rows.append(f"| {width} x {height} | {shares} |")
    head = [
        "### Other sizes",
        "",
        "| px | L2 | things where they should be and nowhere else | shapes |",
        "|---|---|---|---|",
    ]
    return "\n".join([*head, *rows, ""])


def _right(
    model: ImageModel, asked: Sequence[levels.Prompt], texts: Sequence[str], sampling: Sampling
) -> list[Verdict]:
    """Pictures that are no squares are squeezed to one, as the world's grid is."""
    made = model.generate(texts, range(len(texts)), sampling)
    side = max(drawing_exam.SIDE_PX, min(sampling.width_px, sampling.height_px))
    squares = [picture.resize((side, side), Image.Resampling.BICUBIC) for picture in made]
    return [segmented.check(one.scene, picture) for one, picture in zip(asked, squares, strict=True)]


def _share(verdicts: Sequence[Verdict], facet: str) -> str:
    if facet == "exact":
        return f"{np.mean([one.exact for one in verdicts]):.2f}"
    return f"{np.mean([one.facets[facet] for one in verdicts if facet in one.facets]):.2f}"


def _lengthened(model: ImageModel, text: str, tokens: int) -> str:
    """Talk before what is asked for, until the prompt has so many tokens."""
    own = len(model.condition.encode([text])[0].features_SE)
    each = len(model.condition.encode([f"{_FILLER} {text}"])[0].features_SE) - own
    return " ".join([*[_FILLER] * max(0, (tokens - own) // each), text])


@torch.no_grad()
def _at_2048() -> tuple[float, float]:
    config = MMDiTConfig(
        num_layers=4, attention_head_dim=64, num_attention_heads=4, context_in_dim=128, axes_dims_rope=(16, 24, 24)
    )
    network = MMDiT(config).eval()
    vae = VAE(release_config(base_dim=16, decoder_base_dim=16, in_channels=3, out_channels=3)).eval()
    layout = text_to_image(300, 128, 128)
    began = time.monotonic()
    out = network(torch.randn(1, 16384, 64), torch.randn(1, 300, 128), torch.rand(1), layout)
    picture = decode_tiled(vae, out.transpose(1, 2).reshape(1, 64, 128, 128), 32)
    assert picture.shape == (1, 3, 2048, 2048)
    peak = max(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    return time.monotonic() - began, peak / (1 << 20)
