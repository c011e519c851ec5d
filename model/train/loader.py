"""From the stores to batches: what step and number ask for.

Which examples, which prompts are dropped, all of it follows from the seed, the number and the step: nothing is remembered, so
that a run goes on exactly where it was. Shapes: B samples, N tokens of the target, R of the references, C latent channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.condition import Condition
from model.data.prepare import Prepared, Shown
from model.data.store import Store
from model.sample import batched
from model.train.batching import Mixture, Sample, Stream
from model.train.material import Material
from model.train.noise import dropped
from model.train.recipe import Recipe

TEXT_TO_IMAGE, EDITS = "text to image", "edits"


class Loader:
    """Batches of a recipe over what was prepared. Where one of the two kinds is missing, all are of the other.

    `mean` and `deviation` (C,) normalise latents. Raises ValueError where nothing was prepared.
    """

    def __init__(
        self,
        prepared: Prepared,
        latents: Store,
        prompts: Store,
        recipe: Recipe,
        statistics: tuple[Tensor, Tensor],
    ) -> None:
        self._latents, self._prompts, self._recipe = latents, prompts, recipe
        self._mean, self._deviation = statistics
        shares = {TEXT_TO_IMAGE: 1 - recipe.edits, EDITS: recipe.edits}
        kinds = {TEXT_TO_IMAGE: prepared.text_to_image, EDITS: prepared.edits}
        self._shown = {name: shown for name, shown in kinds.items() if shown and shares[name] > 0}
        streams = {
            name: Stream([_sample(one) for one in shown], recipe.tokens, recipe.seed)
            for name, shown in self._shown.items()
        }
        self._mixture = Mixture(streams, {name: shares[name] for name in streams})

    def __call__(self, number: int, step: int) -> Material:
        """Raises FlywheelError where a store lacks what was prepared."""
        kind, batch = self._mixture.batch(number)
        shown = [self._shown[kind][at] for at in batch.samples]
        conditions = [self._condition(one, step) for one in shown]
        *references, target = shown[0].images
        layout, context_BSE, valid_BS = batched(conditions, references, target)
        latents_BTC = torch.stack([self._tokens(one) for one in shown])
        before = latents_BTC.shape[1] - target.tokens
        return Material(
            keys=tuple(one.key for one in shown),
            target_BNC=latents_BTC[:, before:],
            references_BRC=latents_BTC[:, :before],
            context_BSE=context_BSE,
            valid_BS=valid_BS,
            layout=layout,
        )

    def _condition(self, one: Shown, step: int) -> Condition:
        leave_out = dropped(self._recipe.seed, step, one.key, self._recipe.dropout)
        name = one.null if leave_out else one.prompt
        runs = tuple(self._prompts[f"{name}/runs"].tolist())
        return Condition(self._prompts[name].float(), runs)

    def _tokens(self, one: Shown) -> Tensor:
        """(R + N, C), normalised: references, then the target."""
        found = torch.cat([self._latents[name].float().flatten(1).T for name in one.latents])
        return (found - self._mean) / self._deviation


def _sample(one: Shown) -> Sample:
    return Sample(key=one.key, images=one.images, text_tokens=one.text_tokens)
