"""A generator's run: from examples to a folder that generates. The same for a laptop, `torchrun` and Ray Train.

RUN/step-…      checkpoints                RUN/grids/…        what the average draws on the way, prompt by prompt
RUN/log.jsonl   a line a step              RUN/tensorboard/
RUN/run.json    what went in               RUN/model/         the averaged weights, as `flywheel generate` takes them
                                           RUN/lora/          instead of them where a LoRA was trained
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from flywheel.errors import FlywheelError
from model.data.examples import Offered
from model.data.prepare import Preparation, Prepared
from model.lora import LoRA, adapt, save_lora
from model.mmdit import MMDiT
from model.pretrained import write_json
from model.sample import ImageModel
from model.train.ahead import Ahead, by_steps
from model.train.grids import grid
from model.train.loader import Loader
from model.train.loop import Trainer
from model.train.objective import generator_task
from model.train.optim import trained
from model.train.recipe import Recipe
from model.train.run import FACTS, Ended, Watch, averaged, claim, first_alone, follow, report_json
from model.train.world import ALONE, World, whole

MODEL, ADDED = "model", "lora"
_SHOWN = 8  # prompts of a grid


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a run did. `model`: the folder of what it made, a LoRA's too. `left_out` counts pictures by reason."""

    run: Path
    model: Path
    examples: int
    edits: int
    left_out: Mapping[str, int]
    ended: Ended

    def to_json(self) -> dict[str, Any]:
        return report_json(self)


def train_generator(
    recipe: Recipe,
    base: ImageModel,
    found: Offered,
    run: Path,
    *,
    cache: Path,
    resume: bool,
    watch: Watch,
    world: World = ALONE,
) -> Report:
    """Train `base`'s network on what was found; `recipe.network` is the base's.

    Raises UsageError for a folder that holds a run already, without `resume`, and FlywheelError for what goes wrong.
    """
    claim(run, resume)
    if recipe.lora.rank:
        half = recipe.computes_half(world.device)
        adapt(base.network, recipe.lora, recipe.seed, torch.bfloat16 if half else torch.float32)
    with first_alone(world):
        preparation = Preparation(base.condition, base.vae, cache, world.device)
    prepared = _prepared(preparation, found, recipe, watch, world)
    loader = Loader(prepared, preparation.latents, preparation.prompts, recipe, base.statistics())
    ahead = Ahead(loader, by_steps(recipe.accumulate, world.size))
    try:
        trainer = Trainer(recipe, generator_task(base.network, recipe), ahead, run, world)
        if world.is_first:
            write_json(run / FACTS, _facts(recipe, prepared))
        prompts = [example.caption for example in found.examples if not example.references][:_SHOWN]
        ended = follow(trainer, ahead, world, watch, lambda: _drawn(base, prompts, recipe.resolutions[0]))
        model = _lora(trainer, base, recipe.lora, world) if recipe.lora.rank else _finished(trainer, base, world)
    finally:
        ahead.close()
    return Report(
        run=run,
        model=model,
        examples=len(prepared.text_to_image),
        edits=len(prepared.edits),
        left_out=dict(prepared.left_out),
        ended=ended,
    )


def _prepared(preparation: Preparation, found: Offered, recipe: Recipe, watch: Watch, world: World) -> Prepared:
    """Each worker its share, all at once; then every worker knows of all."""

    def progress(done: int, total: int) -> None:
        if world.is_first:
            watch("encode", min(done * world.size, len(found.examples)), len(found.examples), {})

    mine = found.examples[world.rank :: world.size]
    part = preparation.prepared(mine, recipe.resolutions, recipe.tokens, progress)
    prepared = Prepared.joined(world.gathered(part.to_json()), found.examples) if world.size > 1 else part
    preparation.look_again()
    prepared.left_out.update(found.left_out)
    if not prepared.text_to_image and not prepared.edits:
        why = ", ".join(f"{count} {reason}" for reason, count in prepared.left_out.items())
        raise FlywheelError(f"nothing is left to train on: {why}")
    return prepared


def _drawn(base: ImageModel, prompts: list[str], side_px: int) -> Image.Image | None:
    if not prompts:
        return None
    return grid(
        base.generate(prompts, range(len(prompts)), replace(base.sampling, width_px=side_px, height_px=side_px))
    )


def _finished(trainer: Trainer, base: ImageModel, world: World) -> Path:
    """The averaged weights as a folder, whole, whatever they were sharded over."""
    place = trainer.run / MODEL
    with averaged(trainer):
        state = {name: whole(weight).detach().cpu() for name, weight in trainer.network.state_dict().items()}
        if world.is_first:
            with torch.device("meta"):
                network = MMDiT(base.network.config)
            network.load_state_dict(state, assign=True)
            replace(base, network=network.eval()).save_pretrained(place)
    world.wait()
    return place


def _lora(trainer: Trainer, base: ImageModel, lora: LoRA, world: World) -> Path:
    """What was trained, alone."""
    place = trainer.run / ADDED
    with averaged(trainer):
        weights = {name: whole(weight).detach().float().cpu() for name, weight in trained(base.network)}
        if world.is_first:
            save_lora(weights, lora.alpha / lora.rank, place)
    world.wait()
    return place


def _facts(recipe: Recipe, prepared: Prepared) -> dict[str, Any]:
    return {
        "recipe": asdict(recipe),
        "digest": recipe.digest,
        "examples": len(prepared.text_to_image),
        "edits": len(prepared.edits),
        "left_out": dict(prepared.left_out),
    }
