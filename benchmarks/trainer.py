"""A training step beside diffusers' own network, an autoencoder's beside theirs, and what the loader costs.

Both sides have one config, one set of weights, one batch, AdamW, float32 and the same threads, and take turns.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import meter
from benchmarks.figures import Figure, Findings
from model.layout import Image as Grid
from model.layout import Layout, edit, text_to_image
from model.miniature.build.offer import offer
from model.mmdit import MMDiT, MMDiTConfig
from model.train.generator import train_generator
from model.vae import VAE, release_config

TIME, MEMORY, WAITED, VAE_TIME = 0.90, 0.90, 0.02, 1.10
ROUNDS, BATCH = 12, 4
CONFIG = MMDiTConfig(
    num_layers=6, attention_head_dim=64, num_attention_heads=8, context_in_dim=512, axes_dims_rope=(16, 24, 24)
)
LAYOUTS = {"text to image": text_to_image(77, 16, 16), "an edit": edit([3, 74], [Grid(16, 16)], Grid(16, 16))}
_VAE = {"base_dim": 32, "decoder_base_dim": 48, "z_dim": 16}
_SIDE_PX, _PICTURES = 128, 8
Step = Callable[[], None]


def run(place: Path) -> Findings:
    """Ratios of medians over interleaved rounds; memory of a process of its own for each side."""
    figures = []
    for name, layout in LAYOUTS.items():
        ours, theirs = _turns(*(side(layout) for side in (_our_step, _their_step)))
        figures.append(_ratio(f"a step, {name}: of diffusers' time", ours, theirs, TIME))
        held = [_memory(place, whose, name) for whose in ("ours", "theirs")]
        figures.append(
            Figure(
                name=f"a step, {name}: of diffusers' memory",
                measured=held[0] / held[1],
                unit="",
                target=MEMORY,
                below=True,
                note=f"{held[0]:.0f} and {held[1]:.0f} MB above the process before the first step",
            )
        )
    ours, theirs = _turns(_our_autoencoder(), _their_autoencoder())
    figures.append(_ratio("an autoencoder's step: of diffusers' time", ours, theirs, VAE_TIME))
    figures.append(_waited(place))
    how = (
        f"{CONFIG.num_layers} layers of width {CONFIG.width}, batches of {BATCH}, 256 target tokens, 77 of text, an edit with 256 of a "
        f"reference; forward, backward, AdamW; float32, {torch.get_num_threads()} threads; medians of {ROUNDS} rounds, ours and diffusers' "
        f"in turn. Autoencoder: the release's layout at {_VAE['base_dim']} and {_VAE['decoder_base_dim']} channels, {_PICTURES} pictures of "
        f"{_SIDE_PX} px. Memory: the highest resident set of a process that takes three steps, less what it held before them."
    )
    return Findings(title="The trainer", how=how, figures=figures)


def _ratio(name: str, ours: float, theirs: float, target: float) -> Figure:
    note = f"{ours * 1000:.0f} and {theirs * 1000:.0f} ms"
    return Figure(name=name, measured=ours / theirs, unit="", target=target, below=True, note=note)


def _turns(ours: Step, theirs: Step) -> tuple[float, float]:
    """Medians of both, in seconds."""
    spent: tuple[list[float], list[float]] = ([], [])
    for turn in range(ROUNDS + 1):
        for step, kept in zip((ours, theirs), spent, strict=True):
            began = time.perf_counter()
            step()
            if turn:  # the first is warm-up
                kept.append(time.perf_counter() - began)
    return statistics.median(spent[0]), statistics.median(spent[1])


def _inputs(layout: Layout) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    latents = torch.randn(BATCH, len(layout.image_places), CONFIG.in_channels, generator=draw)
    context = torch.randn(BATCH, len(layout.text_places), CONFIG.context_in_dim, generator=draw)
    return latents, context, torch.rand(BATCH, generator=draw)


def _stepping(network: nn.Module, forward: Callable[[], Tensor], target: Tensor) -> Step:
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-5)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        (forward() - target).square().mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def _our_step(layout: Layout) -> Step:
    torch.manual_seed(0)
    network, (latents, context, sigma) = MMDiT(CONFIG), _inputs(layout)
    target = torch.zeros(BATCH, layout.target.tokens, CONFIG.out_channels)
    return _stepping(network, lambda: network(latents, context, sigma, layout), target)


def _their_step(layout: Layout) -> Step:
    from diffusers import QwenImage21Transformer2DModel

    torch.manual_seed(0)
    known = {name: value for name, value in CONFIG.to_json().items() if name not in ("mask", "places")}
    network: Any = QwenImage21Transformer2DModel(**known)  # type: ignore[no-untyped-call]
    latents, context, sigma = _inputs(layout)
    asked = _as_diffusers_asks(layout, context)
    target = torch.zeros(BATCH, layout.target.tokens, CONFIG.out_channels)

    def forward() -> Tensor:
        out: Tensor = network(hidden_states=latents, timestep=sigma, return_dict=False, **asked)[0]
        return out[:, -layout.target.tokens :]

    return _stepping(network, forward, target)


def _as_diffusers_asks(layout: Layout, context: Tensor) -> dict[str, Any]:
    """Features at the encoder's image slots too, four latent tokens a slot."""
    columns, slots, text = list[Tensor](), list[bool](), 0
    for piece in layout.pieces[:-1]:
        is_image = isinstance(piece, Grid)
        count = piece.tokens // 4 if is_image else piece.tokens
        columns += [torch.zeros_like(context[:, :count]) if is_image else context[:, text : text + count]]
        slots += [is_image] * count
        text += 0 if is_image else count
    slots += [True] * (layout.target.tokens // 4)
    return {
        "encoder_hidden_states": torch.cat(columns, dim=1),
        "img_shapes": [[(1, image.height, image.width) for image in layout.images]] * BATCH,
        "img_mask": torch.tensor([slots] * BATCH),
        "encoder_hidden_states_mask": None,
    }


def _memory(place: Path, whose: str, layout: str) -> float:
    """MB, of a process that does nothing else."""
    command = [sys.executable, "-m", "benchmarks.trainer", whose, layout]
    said = meter.run(command, cwd=Path(__file__).parents[1]).output.strip().splitlines()[-1]
    return float(json.loads(said)["mb"])


def _our_autoencoder() -> Step:
    torch.manual_seed(0)
    vae = VAE(release_config(**_VAE, in_channels=3, out_channels=3))
    image = torch.rand(_PICTURES, 3, _SIDE_PX, _SIDE_PX) * 2 - 1
    return _stepping(vae, lambda: vae.decode(vae.encode(image)), image)


def _their_autoencoder() -> Step:
    from diffusers import AutoencoderKLQwenImage21

    torch.manual_seed(0)
    vae: Any = AutoencoderKLQwenImage21(**_VAE, in_channels=3, out_channels=3)  # type: ignore[no-untyped-call]
    image = torch.rand(_PICTURES, 3, _SIDE_PX, _SIDE_PX) * 2 - 1

    def forward() -> Tensor:
        latents = vae.encode(image[:, :, None]).latent_dist.mode()
        out: Tensor = vae.decode(latents).sample[:, :, 0]
        return out

    return _stepping(vae, forward, image)


def _waited(place: Path) -> Figure:
    """The bundled model's own kind of training, on pictures that are drawn as they are read."""
    from model.train.recipes import RECIPES
    from model.train.start import started

    recipe = replace(RECIPES["miniature"], steps=20, save_every=20, show_every=20)
    recipe, base = started(recipe, None)
    report = train_generator(
        recipe,
        base,
        offer(800, 200, 9),
        place / "run",
        cache=place / "cache",
        resume=False,
        watch=lambda what, done, total, values: None,
    )
    pace = report.ended.pace
    return Figure(
        name="of the time that the trainer waits for batches",
        measured=None if pace is None else pace.waited,
        unit="",
        target=WAITED,
        below=True,
        note="the miniature's recipe; everything prepared",
    )


def _weighed(whose: str, layout: str) -> None:
    """In a process of its own: three steps."""
    import psutil

    side = {"ours": _our_step, "theirs": _their_step}[whose]
    if whose == "theirs":
        import diffusers  # noqa: F401 - what an import holds is not counted

    before = psutil.Process().memory_info().rss
    step = side(LAYOUTS[layout])
    for _ in range(3):
        step()
    peak = max(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    print(json.dumps({"mb": peak / 1024 - before / (1 << 20)}))


if __name__ == "__main__":
    _weighed(*sys.argv[1:])
