"""A whole run: from examples to a folder that generates. The same for a laptop, `torchrun` and Ray Train.

RUN/step-…      checkpoints                RUN/grids/…        what the average draws on the way, prompt by prompt
RUN/log.jsonl   a line a step              RUN/tensorboard/
RUN/run.json    what went in               RUN/model/         the averaged weights, as `flywheel generate` takes them
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from flywheel.errors import FlywheelError, UsageError
from model.data.examples import Example, Offered
from model.data.prepare import Preparation, Prepared
from model.mmdit import MMDiT
from model.pretrained import write_json
from model.sample import ImageModel
from model.train.checkpoint import checkpoints
from model.train.grids import grid
from model.train.guards import Decision
from model.train.loader import Ahead, Loader, by_steps
from model.train.loop import Told, Trainer
from model.train.meter import Meter, Pace
from model.train.recipe import Recipe
from model.train.trackers import Tracker, numbers, picture, trackers
from model.train.world import ALONE, World, whole

MODEL, GRIDS, FACTS = "model", "grids", "run.json"
_SHOWN = 8  # prompts of a grid
Watch = Callable[[str, int, int, Mapping[str, Any]], None]  # what, how far, of how much, what there is to say


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a run did. `left_out` counts pictures by reason; `skipped` steps by the guard's decision."""

    run: Path
    model: Path
    steps: int
    loss: float
    examples: int
    edits: int
    left_out: Mapping[str, int]
    skipped: Mapping[str, int]
    pace: Pace | None

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "run": str(self.run), "model": str(self.model)}


def train(
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
    if checkpoints(run) and not resume:
        raise UsageError(f"{run} holds a run: give --resume to go on with it, or another folder")
    _make(run)
    preparation = Preparation(base.condition, base.vae, cache)
    with _first(world):
        prepared = _prepared(preparation, found.examples, recipe, watch, world)
    prepared.left_out.update(found.left_out)
    loader = Loader(prepared, preparation.latents, preparation.prompts, recipe, base.statistics())
    ahead = Ahead(loader, by_steps(recipe.accumulate, world.size))
    try:
        trainer = Trainer(recipe, base.network, ahead, run, world)
        if world.is_first:
            write_json(run / FACTS, _facts(recipe, prepared))
        shown = [example.caption for example in found.examples if not example.references][:_SHOWN]
        return _followed(trainer, base, ahead, prepared, shown, watch, world)
    finally:
        ahead.close()


def _prepared(
    preparation: Preparation, examples: list[Example], recipe: Recipe, watch: Watch, world: World
) -> Prepared:
    def progress(done: int, total: int) -> None:
        if world.is_first:
            watch("encode", done, total, {})

    prepared = preparation.prepared(examples, recipe.resolutions, recipe.tokens, progress)
    if not prepared.text_to_image and not prepared.edits:
        why = ", ".join(f"{count} {reason}" for reason, count in prepared.left_out.items())
        raise FlywheelError(f"nothing is left to train on: {why}")
    return prepared


def _followed(
    trainer: Trainer, base: ImageModel, ahead: Ahead, prepared: Prepared, shown: list[str], watch: Watch, world: World
) -> Report:
    recipe, skipped, told, pace = trainer.recipe, dict[str, int](), None, None
    meter = Meter(recipe.network, recipe.steps, world.device, world.size)
    with _tracked(trainer, world) as track:
        for told in trainer.follow():
            meter.step(told.layouts, told.samples, recipe.draws, ahead.waited_s)
            pace = meter.pace(told.step, ahead.waited_s)
            if told.decision is not Decision.TAKE:
                skipped[told.decision.value] = skipped.get(told.decision.value, 0) + 1
            values = _values(told, pace)
            numbers(track, told.step, values)
            if world.is_first:
                watch("train", told.step, recipe.steps, values)
            if shown and (told.step % recipe.show_every == 0 or told.step == recipe.steps):
                _show(trainer, base, shown, told.step, track, world)
        place = _finished(trainer, base, world)
    return Report(
        run=trainer.run,
        model=place,
        steps=trainer.step,
        loss=told.loss if told is not None else float("nan"),
        examples=len(prepared.text_to_image),
        edits=len(prepared.edits),
        left_out=dict(prepared.left_out),
        skipped=skipped,
        pace=pace,
    )


def _values(told: Told, pace: Pace | None) -> dict[str, float]:
    values = {"loss": told.loss, "gradient": told.gradient_norm, "rate": told.rate}
    if pace is not None:
        spoken = {"samples/s": pace.samples_s, "tokens/s": pace.tokens_s, "waited": pace.waited, "mfu": pace.mfu}
        values |= {name: value for name, value in spoken.items() if value is not None} | {"left_s": pace.left_s}
    return values


def _show(
    trainer: Trainer, base: ImageModel, prompts: list[str], step: int, track: list[Tracker], world: World
) -> None:
    """What the averaged weights draw. Every worker computes, since weights may be shards; the first one keeps it."""
    side = trainer.recipe.resolutions[0]
    sampling = replace(base.sampling, width_px=side, height_px=side)
    with _averaged(trainer):
        drawn = base.generate(prompts, range(len(prompts)), sampling)
    if world.is_first:
        (trainer.run / GRIDS).mkdir(exist_ok=True)
        image = grid(drawn)
        image.save(trainer.run / GRIDS / f"step-{step:08}.png")
        picture(track, step, "grid", image)


def _finished(trainer: Trainer, base: ImageModel, world: World) -> Path:
    place = trainer.run / MODEL
    with _averaged(trainer):
        network = _gathered(trainer.network)
    if world.is_first:
        replace(base, network=network).save_pretrained(place)
    world.wait()
    return place


def _gathered(network: MMDiT) -> MMDiT:
    """A copy on the CPU, whole, whatever it was sharded over."""
    state = {name: whole(weight).detach().cpu() for name, weight in network.state_dict().items()}
    with torch.device("meta"):
        copy = MMDiT(network.config)
    copy.load_state_dict(state, assign=True)
    return copy.eval()


@contextmanager
def _averaged(trainer: Trainer) -> Iterator[None]:
    """The network with its averaged weights, for a while."""
    trainer.average.swap(trainer.network)
    trainer.network.eval()
    try:
        yield
    finally:
        trainer.average.swap(trainer.network)
        trainer.network.train()


@contextmanager
def _tracked(trainer: Trainer, world: World) -> Iterator[list[Tracker]]:
    recipe = trainer.recipe
    track = trackers(trainer.run, recipe.name, asdict(recipe)) if world.is_first else []
    try:
        yield track
    finally:
        for tracker in track:
            tracker.close()


@contextmanager
def _first(world: World) -> Iterator[None]:
    """One worker does it first, the others find it done."""
    if not world.is_first:
        world.wait()
    yield
    if world.is_first:
        world.wait()


def _make(run: Path) -> None:
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FlywheelError(f"{run} cannot be made: {error}") from error


def _facts(recipe: Recipe, prepared: Prepared) -> dict[str, Any]:
    return {
        "recipe": asdict(recipe),
        "digest": recipe.digest,
        "examples": len(prepared.text_to_image),
        "edits": len(prepared.edits),
        "left_out": dict(prepared.left_out),
    }
