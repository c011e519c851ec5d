"""The recipes that come with the program.

The generator's stages and their numbers are Table 2 of the 2.0 report. What it and the VAE's report leave blank (betas, warm-up,
averaging, how steps are split between resolutions, weights and margins of losses) is our choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from flywheel.errors import UsageError
from model.flow import Flow
from model.mmdit import MMDiTConfig
from model.train.recipe import Optimizer, Recipe
from model.train.vae_recipe import Phase, VAERecipe
from model.vae import VAEConfig
from model.vae_linear import LinearVAEConfig
from model.vae_losses import Weights

_MINIATURE = MMDiTConfig(
    num_layers=6,
    attention_head_dim=64,
    num_attention_heads=3,
    context_in_dim=128,
    axes_dims_rope=(16, 24, 24),
    places=6,
)

_ALL: Sequence[Recipe] = (
    Recipe(
        name="pretrain",
        says="Table 2, pre-training: 700,000 steps at 256 and 512 px, T2I to TI2I 9 to 1",
        begins="anew",
        optimizer=Optimizer(lr=1e-4),
        steps=700_000,
        resolutions=(256, 512),
        edits=0.1,
        tokens=65_536,
    ),
    Recipe(
        name="continual",
        says="Table 2, continual pre-training: 250,000 steps at 512, 1024 and 2048 px, T2I to TI2I 7 to 3",
        optimizer=Optimizer(lr=2e-5),
        steps=250_000,
        resolutions=(512, 1024, 2048),
        edits=0.3,
        tokens=65_536,
    ),
    Recipe(
        name="sft",
        says="Table 2, supervised fine-tuning: 10,000 steps at 512, 1024 and 2048 px, T2I to TI2I 7 to 3",
        optimizer=Optimizer(lr=1e-5, warm_up=100),
        steps=10_000,
        resolutions=(512, 1024, 2048),
        edits=0.3,
        tokens=65_536,
    ),
    Recipe(
        name="miniature",
        says="the rendered world at 96 px on a CPU, from nothing; every number is our choice",
        begins="anew",
        network=_MINIATURE,
        flow=Flow(mean=0.8, base_shift=0.0, max_shift=0.0),
        optimizer=Optimizer(lr=2e-3, muon_lr=4e-3, betas=(0.9, 0.99), weight_decay=0.01, warm_up=100, decay=0.5),
        steps=3_000,
        resolutions=(96,),
        edits=0.25,
        tokens=4_096,
        accumulate=2,
        averaging=0.998,
        save_every=250,
        show_every=250,
    ),
)

_AUTOENCODERS: Sequence[VAERecipe] = (
    VAERecipe(
        name="vae",
        says="f16c64 from small pictures and strict margins to 1024 px and small print; looks through a DINOv2",
        network=VAEConfig(),
        optimizer=Optimizer(lr=1e-4, warm_up=1000),
        steps=300_000,
        pictures=32,
        phases=(
            Phase(share=0.6, side_px=256, weights=Weights(perceptual=1.0, align=0.5)),
            Phase(
                share=0.2,
                side_px=256,
                weights=Weights(perceptual=1.0, align=0.1),
                text_rich=0.5,
                written=0.2,
                glyph_px=(10, 20),
            ),
            Phase(
                share=0.15,
                side_px=512,
                weights=Weights(perceptual=1.0, align=0.1, cosine_margin=0.5, distance_margin=0.25),
                text_rich=0.4,
                written=0.3,
                glyph_px=(7, 20),
            ),
            Phase(
                share=0.05,
                side_px=1024,
                weights=Weights(perceptual=1.0, align=0.1, cosine_margin=0.5, distance_margin=0.25),
                text_rich=0.3,
                written=0.3,
            ),
        ),
    ),
    VAERecipe(
        name="miniature-vae",
        says="the linear autoencoder of the rendered world at 96 px on a CPU: PCA, then a decoder that corrects it",
        network=LinearVAEConfig(),
        optimizer=Optimizer(lr=2e-3, betas=(0.9, 0.99), weight_decay=0.0, warm_up=40, decay=0.5),
        steps=2_000,
        pictures=32,
        averaging=0.995,
        save_every=500,
        show_every=500,
        phases=(Phase(share=1.0, side_px=96, weights=Weights(l1=0.0, mse=1.0)),),
    ),
)

RECIPES: Mapping[str, Recipe] = MappingProxyType({recipe.name: recipe for recipe in _ALL})


def recipe_named(name: str) -> Recipe:
    """Raises UsageError for a name that is none."""
    if name not in RECIPES:
        raise UsageError(f"no recipe {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]


AUTOENCODER_RECIPES: Mapping[str, VAERecipe] = MappingProxyType({recipe.name: recipe for recipe in _AUTOENCODERS})


def autoencoder_recipe_named(name: str) -> VAERecipe:
    """Raises UsageError for a name that is none."""
    if name not in AUTOENCODER_RECIPES:
        raise UsageError(f"no recipe {name!r} of an autoencoder; there are {', '.join(AUTOENCODER_RECIPES)}")
    return AUTOENCODER_RECIPES[name]
