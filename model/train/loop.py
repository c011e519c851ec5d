"""The loop: batches in, weights out; exact when it goes on, and watchful.

All that is random depends on the seed, the step and the sample (`noise`, `batching`), so that a checkpoint needs no state of
any generator: N steps are k and then N - k, bit for bit, and with another number of workers but for rounding.
Shapes: B samples, N tokens of the target, R of the references.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from flywheel.errors import FlywheelError
from model.precision import computing
from model.train.checkpoint import (
    checkpoints,
    facts_of,
    fill_optimizers,
    load_checkpoint,
    optimizer_tensors,
    save_checkpoint,
)
from model.train.guards import Decision, Guard, judged
from model.train.optim import Average, optimizers, rate, set_rate, trained
from model.train.recipe import RunRecipe
from model.train.sharding import spread
from model.train.task import Batches, Task, Work
from model.train.world import ALONE, World, whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a step has to say. `work` is this worker's."""

    step: int
    loss: float
    gradient_norm: float
    rate: float
    decision: Decision
    work: Work


class Trainer:
    """A network on its way through a recipe. `run` is the folder of its checkpoints.

    Weights without gradients stay as they are and are not saved. Raises FlywheelError where the folder holds a run of another
    recipe, and UsageError where a step's batches cannot be shared among the workers.
    """

    def __init__(self, recipe: RunRecipe, task: Task, batches: Batches, run: Path, world: World = ALONE) -> None:
        self.recipe, self.network, self.run, self._world = recipe, task.network, run, world
        self._task, self._batches = task, batches
        self._is_sharded = spread(task, recipe, world)
        self._weights = dict(trained(self.network))
        self._optimizers = optimizers(self.network, recipe.optimizer, world)
        self.average, self.step, self._guard = Average(self.network, recipe.averaging), 0, Guard()
        self._resume()

    def follow(self) -> Iterator[Told]:
        """Steps from where the run is to the recipe's end, a word a step; saves on the way and at the end."""
        self.network.train()
        while self.step < self.recipe.steps:
            told = self._stepped()
            if told.decision is Decision.ROLL_BACK:
                self._rolled_back(told)
            if self.step % self.recipe.save_every == 0 or self.step == self.recipe.steps:
                self.save()
            yield told

    def save(self) -> Path:
        tensors = {f"network/{name}": weight for name, weight in self._weights.items()}
        tensors |= {f"average/{name}": weight for name, weight in self.average.weights.items()}
        tensors |= optimizer_tensors(self.network, self._optimizers)
        facts = {
            "digest": self.recipe.digest,
            "recipe": json.loads(json.dumps(asdict(self.recipe))),
            "averaged": self.average.seen,
            "guard": asdict(self._guard),
        }
        return save_checkpoint(self.run, self.step, tensors, facts, self.recipe.keep, self._world)

    def _stepped(self) -> Told:
        recipe, world, scale = self.recipe, self._world, rate(self.recipe.optimizer, self.step, self.recipe.steps)
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)
        set_rate(self._optimizers, recipe.optimizer, scale)
        loss, work = 0.0, Work()
        for at in range(world.rank, recipe.accumulate, world.size):
            batch = self._batches(self.step * recipe.accumulate + at, self.step).to(world.device)
            with computing(recipe.computes_half(world.device), world.device):
                found = self._task.loss(batch, self.step) / recipe.accumulate
            # Workers' gradients are averaged, a step's loss is a sum.
            (found * world.size).backward()  # type: ignore[no-untyped-call]
            loss += float(found.detach())
            work += self._task.work(batch)
        loss = world.total(loss)
        if not self._is_sharded:
            world.average(self._weights.values())
        norm = float(whole(nn.utils.clip_grad_norm_(self._weights.values(), recipe.optimizer.clip)))
        decision, self._guard = judged(self._guard, recipe.guard, loss, norm)
        if decision is Decision.TAKE:
            for optimizer in self._optimizers:
                optimizer.step()
            self.average.update(self.network)
        self.step += 1
        return Told(step=self.step, loss=loss, gradient_norm=norm, rate=scale, decision=decision, work=work)

    def _rolled_back(self, told: Told) -> None:
        """Weights of the last checkpoint, but batches that follow: the same ones would lead here again."""
        if not checkpoints(self.run):
            raise FlywheelError(
                f"step {told.step}: {self.recipe.guard.patience} steps in a row were bad and there is no checkpoint to go back "
                f"to; the last loss was {told.loss:.4g}, the gradient's norm {told.gradient_norm:.4g}"
            )
        self._resume()
        self.step = told.step

    def _resume(self) -> None:
        found = checkpoints(self.run)
        if not found:
            return
        facts = facts_of(found[-1])
        if facts["digest"] != self.recipe.digest:
            raise FlywheelError(
                f"{self.run} holds a run of another recipe ({facts['recipe']['name']}, {facts['digest']}): "
                "give the same settings, or another folder"
            )
        tensors = load_checkpoint(found[-1], self._like, self._world)
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(tensors[f"network/{name}"])
                self.average.weights[name].copy_(tensors[f"average/{name}"])
        self.average.seen = int(facts["averaged"])
        fill_optimizers(self.network, self._optimizers, tensors)
        self._guard = Guard(losses=tuple(facts["guard"]["losses"]), bad=facts["guard"]["bad"])
        self.step = int(facts["step"])

    def _like(self, stored: str) -> Tensor | None:
        """The weight that a stored tensor is, averages, or is remembered of."""
        return self._weights.get(stored.rpartition("/")[2])
