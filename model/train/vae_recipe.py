"""What an autoencoder's run is made of: phases, from small pictures and strict margins to large ones and small print."""

from __future__ import annotations

from dataclasses import dataclass

from model.layout import TOKEN_PX
from model.train.recipe import RunRecipe
from model.vae import VAEConfig
from model.vae_linear import LinearVAEConfig
from model.vae_losses import Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """`share` of the steps. Squares of `side_px` are cut from pictures that reach it, `text_rich` of them from the source of such
    pictures where there is one; `written` of the batches have words written over them, in signs of `glyph_px` (5 to 20 in the
    report)."""

    share: float
    side_px: int
    weights: Weights
    text_rich: float = 0.0
    written: float = 0.0
    glyph_px: tuple[int, int] = (5, 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class VAERecipe(RunRecipe):
    """`pictures` a batch. Raises ValueError for phases that are no whole."""

    network: VAEConfig | LinearVAEConfig
    phases: tuple[Phase, ...]
    pictures: int

    def __post_init__(self) -> None:
        RunRecipe.__post_init__(self)
        if not self.phases or abs(sum(phase.share for phase in self.phases) - 1) > 1e-6:
            raise ValueError("the shares of the phases add up to 1")
        if any(phase.side_px % TOKEN_PX or phase.side_px <= 0 for phase in self.phases) or self.pictures < 1:
            raise ValueError(f"sides are multiples of {TOKEN_PX} px, pictures are 1 or more")
        if any(not 0 <= share <= 1 for phase in self.phases for share in (phase.written, phase.text_rich)) or any(
            phase.glyph_px[0] > phase.glyph_px[1] for phase in self.phases
        ):
            raise ValueError("written and text_rich are shares, glyph_px go from small to large")

    def phase(self, step: int) -> Phase:
        """That a step, 0 and up, is in."""
        upto = 0.0
        for phase in self.phases:
            upto += phase.share * self.steps
            if step < upto - 1e-9:
                return phase
        return self.phases[-1]
