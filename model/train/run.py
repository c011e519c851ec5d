"""What every run does from its first step to its last: numbers, pictures, a word to whoever watches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from flywheel.errors import FlywheelError, UsageError
from model.train.ahead import Ahead
from model.train.checkpoint import checkpoints
from model.train.guards import Decision
from model.train.loop import Told, Trainer
from model.train.meter import Meter, Pace
from model.train.trackers import Tracker, numbers, picture, trackers
from model.train.world import World

GRIDS, FACTS = "grids", "run.json"
Watch = Callable[[str, int, int, Mapping[str, Any]], None]  # what, how far, of how much, what there is to say
Show = Callable[[], Image.Image | None]  # what the averaged weights make of something to look at


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """`skipped` counts steps by the guard's decision. `pace` None: nothing was left to do."""

    steps: int
    loss: float | None
    skipped: Mapping[str, int]
    pace: Pace | None


def report_json(report: Any) -> dict[str, Any]:
    """A report as one flat document: what its run ended with beside what it is about; paths as text."""
    told = asdict(report)
    ended = told.pop("ended")
    return {name: str(value) if isinstance(value, Path) else value for name, value in {**told, **ended}.items()}


def claim(run: Path, resume: bool) -> None:
    """Raises UsageError for a folder that holds a run already, without `resume`; FlywheelError for one that cannot be."""
    if checkpoints(run) and not resume:
        raise UsageError(f"{run} holds a run: give --resume to go on with it, or another folder")
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FlywheelError(f"{run} cannot be made: {error}") from error


def follow(trainer: Trainer, ahead: Ahead, world: World, watch: Watch, show: Show) -> Ended:
    """To the recipe's end. Every worker shows, since weights may be shards; the first one keeps it."""
    recipe, skipped = trainer.recipe, dict[str, int]()
    told: Told | None = None
    pace: Pace | None = None
    meter = Meter(recipe.steps, world.device, world.size)
    with _tracked(trainer, world) as track:
        for told in trainer.follow():
            meter.step(told.work, ahead.waited_s)
            pace = meter.pace(told.step, ahead.waited_s)
            if told.decision is not Decision.TAKE:
                skipped[told.decision.value] = skipped.get(told.decision.value, 0) + 1
            values = _values(told, pace)
            numbers(track, told.step, values)
            if world.is_first:
                watch("train", told.step, recipe.steps, values)
            if told.step % recipe.show_every == 0 or told.step == recipe.steps:
                with averaged(trainer):
                    shown = show()
                if shown is not None and world.is_first:
                    _keep(shown, trainer.run, told.step, track)
    return Ended(steps=trainer.step, loss=None if told is None else told.loss, skipped=skipped, pace=pace)


@contextmanager
def averaged(trainer: Trainer) -> Iterator[None]:
    """The network with its averaged weights, for a while."""
    trainer.average.swap(trainer.network)
    trainer.network.eval()
    try:
        yield
    finally:
        trainer.average.swap(trainer.network)
        trainer.network.train()


@contextmanager
def first_alone(world: World) -> Iterator[None]:
    """One worker does it first, the others find it done."""
    if not world.is_first:
        world.wait()
    yield
    if world.is_first:
        world.wait()


def _values(told: Told, pace: Pace | None) -> dict[str, float]:
    values = {"loss": told.loss, "gradient": told.gradient_norm, "rate": told.rate}
    if pace is not None:
        spoken = {"samples/s": pace.samples_s, "tokens/s": pace.tokens_s, "waited": pace.waited, "mfu": pace.mfu}
        values |= {name: value for name, value in spoken.items() if value is not None} | {"left_s": pace.left_s}
    return values


def _keep(image: Image.Image, run: Path, step: int, track: list[Tracker]) -> None:
    (run / GRIDS).mkdir(exist_ok=True)
    image.save(run / GRIDS / f"step-{step:08}.png")
    picture(track, step, "grid", image)


@contextmanager
def _tracked(trainer: Trainer, world: World) -> Iterator[list[Tracker]]:
    recipe = trainer.recipe
    track = trackers(trainer.run, recipe.name, asdict(recipe)) if world.is_first else []
    try:
        yield track
    finally:
        for tracker in track:
            tracker.close()
