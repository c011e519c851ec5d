"""Recipes are the report's Table 2, and a setting changes what it names and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flywheel.errors import UsageError
from model.train.recipes import RECIPES, recipe_named
from model.train.settings import with_settings


@pytest.mark.parametrize(
    ("name", "steps", "sides", "edits", "lr"),
    [
        ("pretrain", 700_000, (256, 512), 0.1, 1e-4),
        ("continual", 250_000, (512, 1024, 2048), 0.3, 2e-5),
        ("sft", 10_000, (512, 1024, 2048), 0.3, 1e-5),
    ],
)
def test_the_stages_are_table_2(name: str, steps: int, sides: tuple[int, ...], edits: float, lr: float) -> None:
    recipe = recipe_named(name)
    assert (recipe.steps, recipe.resolutions, recipe.edits, recipe.optimizer.lr) == (steps, sides, edits, lr)
    assert (recipe.optimizer.weight_decay, recipe.optimizer.clip, recipe.dropout) == (0.001, 1.0, 0.1)
    assert recipe.network.width == 4096


def test_a_setting_changes_what_it_names_and_nothing_else() -> None:
    recipe = RECIPES["miniature"]
    changed = with_settings(
        recipe, ["steps=20", "optimizer.lr=1", "network.num_layers=2", "resolutions=[64, 96]", "dtype=float32"]
    )
    assert changed == replace(
        recipe,
        steps=20,
        optimizer=replace(recipe.optimizer, lr=1.0),
        network=replace(recipe.network, num_layers=2),
        resolutions=(64, 96),
        dtype="float32",
    )
    assert with_settings(recipe, ["flow.terminal=null"]).flow.terminal is None
    assert changed.digest != recipe.digest
    assert with_settings(changed, []).digest == changed.digest


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("steps", "key=value, not 'steps'"),
        ("step=3", "no 'step'; there are name, says, optimizer"),
        ("steps=many", "takes int, not 'many'"),
        ("steps=true", "takes int, not True"),
        ("steps=0", "are 1 or more"),
        ("optimizer=3", "settings of its own"),
        ("steps.more=3", "steps has nothing inside"),
        ("resolutions=[100]", "multiples of 16 px"),
        ("edits=1.5", "shares from 0"),
        ("network.mask=half", "block_causal or full"),
        ("steps=null", "takes int, not None"),
    ],
)
def test_a_setting_that_is_none_is_refused_in_one_line(setting: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as told:
        with_settings(RECIPES["miniature"], [setting])
    assert "\n" not in str(told.value)


def test_a_recipe_that_is_none() -> None:
    with pytest.raises(UsageError, match="no recipe 'x'; there are pretrain, continual, sft, miniature"):
        recipe_named("x")
