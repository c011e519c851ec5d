"""The loop: batches in, weights out; exact when it goes on, and watchful.

All that is random depends on the seed, the step and the sample (`noise`, `batching`), so that a checkpoint needs no state of
any generator: N steps are k and then N - k, bit for bit. Shapes: B samples, N tokens of the target, R of the references.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from flywheel.errors import FlywheelError
from model.flow import Flow, flow_loss, noised
from model.layout import Layout
from model.mmdit import MMDiT
from model.train.checkpoint import checkpoints, fill_optimizers, load_checkpoint, optimizer_tensors, save_checkpoint
from model.train.guards import Decision, Guard, judged
from model.train.noise import drawn
from model.train.optim import Average, optimizers, rate, set_rate
from model.train.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Material:
    """A batch made ready: normalised latents, and features of prompts as `model.sample.batched` gives them."""

    keys: tuple[str, ...]
    target_BNC: Tensor
    references_BRC: Tensor
    context_BSE: Tensor
    valid_BS: Tensor | None
    layout: Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a step has to say."""

    step: int
    loss: float
    gradient_norm: float
    rate: float
    decision: Decision


Batches = Callable[[int, int], Material]  # the number of a batch, and the step that it is for


class Trainer:
    """A network on its way through a recipe. `run` is the folder of its checkpoints.

    Raises FlywheelError where the folder holds a run of another recipe.
    """

    def __init__(self, recipe: Recipe, network: MMDiT, batches: Batches, run: Path) -> None:
        self.recipe, self.network, self.run = recipe, network, run
        self._batches, self._optimizers = batches, optimizers(network, recipe.optimizer)
        self.average, self.step, self._guard = Average(network, recipe.averaging), 0, Guard()
        network.checkpointing = recipe.checkpointing
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
        tensors = {f"network/{name}": weight for name, weight in self.network.state_dict().items()}
        tensors |= {f"average/{name}": weight for name, weight in self.average.weights.items()}
        tensors |= optimizer_tensors(self.network, self._optimizers)
        facts = {
            "digest": self.recipe.digest,
            "recipe": json.loads(json.dumps(asdict(self.recipe))),
            "averaged": self.average.seen,
            "guard": asdict(self._guard),
        }
        return save_checkpoint(self.run, self.step, tensors, facts, self.recipe.keep)

    def _stepped(self) -> Told:
        recipe, scale = self.recipe, rate(self.recipe.optimizer, self.step, self.recipe.steps)
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)
        set_rate(self._optimizers, recipe.optimizer, scale)
        loss = 0.0
        for at in range(recipe.accumulate):
            material = self._batches(self.step * recipe.accumulate + at, self.step)
            with self._computing():
                found = objective(self.network, recipe.flow, material, recipe.seed, self.step) / recipe.accumulate
            found.backward()  # type: ignore[no-untyped-call]
            loss += float(found.detach())
        norm = float(nn.utils.clip_grad_norm_(self.network.parameters(), recipe.optimizer.clip))
        decision, self._guard = judged(self._guard, recipe.guard, loss, norm)
        if decision is Decision.TAKE:
            for optimizer in self._optimizers:
                optimizer.step()
            self.average.update(self.network)
        self.step += 1
        return Told(step=self.step, loss=loss, gradient_norm=norm, rate=scale, decision=decision)

    def _computing(self) -> AbstractContextManager[None]:
        device = next(self.network.parameters()).device.type
        return torch.autocast(device, torch.bfloat16) if self.recipe.dtype == "bfloat16" else nullcontext()

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
        tensors, facts = load_checkpoint(found[-1])
        if facts["digest"] != self.recipe.digest:
            raise FlywheelError(
                f"{self.run} holds a run of another recipe ({facts['recipe']['name']}, {facts['digest']}): "
                "give the same settings, or another folder"
            )
        self.network.load_state_dict(_part(tensors, "network"))
        self.average.weights, self.average.seen = _part(tensors, "average"), int(facts["averaged"])
        fill_optimizers(self.network, self._optimizers, tensors)
        self._guard = Guard(losses=tuple(facts["guard"]["losses"]), bad=facts["guard"]["bad"])
        self.step = int(facts["step"])


def objective(network: MMDiT, flow: Flow, material: Material, seed: int, step: int) -> Tensor:
    """The mean loss of a batch; each sample's noise and sigma are its own at this step."""
    target = material.target_BNC
    noise, normal, _ = drawn(seed, step, material.keys, target.shape[1:])
    noise, normal = noise.to(target.device), normal.to(target.device)
    sigma = flow.sigmas_for_training(normal, target.shape[1])
    latents = torch.cat([material.references_BRC, noised(target, noise, sigma)], dim=1)
    velocity = network(latents, material.context_BSE, sigma, material.layout, valid_BS=material.valid_BS)
    return flow_loss(velocity, target, noise, flow.weights(sigma)).mean()


def _part(tensors: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    own = f"{kind}/"
    return {name.removeprefix(own): tensor for name, tensor in tensors.items() if name.startswith(own)}
