"""Runs that stop and go on are runs that never stopped; bad steps are left out; what is on the disk is whole."""

from __future__ import annotations

import math
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_run import RECIPE, batches, network, trainer

from flywheel.errors import FlywheelError
from model.train.checkpoint import checkpoints, facts_of, load_checkpoint, save_checkpoint
from model.train.guards import Decision
from model.train.loop import Trainer
from model.train.material import Material
from model.train.objective import generator_task
from model.train.recipe import Recipe
from model.train.task import Batches


def small(recipe: Recipe, found: Batches, run: Path) -> Trainer:
    return Trainer(recipe, generator_task(network(), recipe), found, run)


def equal(one: Trainer, two: Trainer) -> bool:
    """Weights, their average, and what the optimizers remember."""
    places = [each.save() for each in (one, two)]
    first, second = (load_checkpoint(place) for place in places)
    return (
        facts_of(places[0]) == facts_of(places[1])
        and first.keys() == second.keys()
        and all(torch.equal(first[name], second[name]) for name in first)
    )


@pytest.mark.parametrize(("stop", "accumulate"), [(1, 1), (5, 1), (8, 2)])
def test_a_run_that_stopped_ends_as_one_that_did_not(tmp_path: Path, stop: int, accumulate: int) -> None:
    recipe = replace(RECIPE, accumulate=accumulate)
    whole = trainer(tmp_path / "whole", recipe)
    losses = [told.loss for told in whole.follow()]
    first = trainer(tmp_path / "parts", recipe)
    begun = [told.loss for _, told in zip(range(stop), first.follow(), strict=False)]
    first.save()
    second = trainer(tmp_path / "parts", recipe)
    assert second.step == stop
    assert begun + [told.loss for told in second.follow()] == losses
    assert equal(whole, second)


def test_it_learns(tmp_path: Path) -> None:
    told = list(trainer(tmp_path, replace(RECIPE, steps=150, save_every=150)).follow())
    assert sum(one.loss for one in told[-10:]) < 0.8 * sum(one.loss for one in told[:10])
    assert [one.step for one in told] == list(range(1, 151))


def test_two_halves_of_a_batch_are_the_batch(tmp_path: Path) -> None:
    halves = small(replace(RECIPE, accumulate=2, steps=1), lambda k, s: batches(k, s, 4), tmp_path / "a")
    whole = small(replace(RECIPE, steps=1), lambda k, s: batches(k, s, 8), tmp_path / "b")
    (one,), (two,) = halves.follow(), whole.follow()
    assert one.loss == pytest.approx(two.loss, rel=1e-5)
    for left, right in zip(halves.network.parameters(), whole.network.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-5)


def broken(bad: set[int], value: float = math.nan) -> Batches:
    def found(number: int, step: int) -> Material:
        material = batches(number, step)
        return replace(material, target_BNC=material.target_BNC * value) if step in bad else material

    return found


def test_a_bad_batch_is_left_out(tmp_path: Path) -> None:
    run = small(replace(RECIPE, steps=12), broken({6}), tmp_path)
    before: list[torch.Tensor] = []
    for told in run.follow():
        weights = torch.cat([weight.detach().flatten() for weight in run.network.parameters()])
        if told.step == 7:
            assert told.decision is Decision.SKIP_NON_FINITE
            assert torch.equal(weights, before[-1])
        else:
            assert told.decision is Decision.TAKE
        before.append(weights)
        assert weights.isfinite().all()


def test_several_bad_batches_lead_back_to_the_last_checkpoint(tmp_path: Path) -> None:
    run = small(replace(RECIPE, steps=12), broken({7, 8, 9}, 1e4), tmp_path)
    seen = {}
    for told in run.follow():
        seen[told.step] = told.decision
        if told.step == 10:
            kept = load_checkpoint(checkpoints(tmp_path)[-1])
            assert all(
                torch.equal(kept[f"network/{name}"], weight) for name, weight in run.network.state_dict().items()
            )
    assert [seen[step] for step in (8, 9, 10, 11)] == [
        Decision.SKIP_SPIKE,
        Decision.SKIP_SPIKE,
        Decision.ROLL_BACK,
        Decision.TAKE,
    ]
    nothing = small(replace(RECIPE, steps=12), broken({0, 1, 2}), tmp_path / "none")
    with pytest.raises(FlywheelError, match="3 steps in a row were bad and there is no checkpoint"):
        list(nothing.follow())


def test_a_run_that_leads_back_at_its_end_is_saved(tmp_path: Path) -> None:
    run = small(replace(RECIPE, steps=10), broken({7, 8, 9}), tmp_path)
    assert list(run.follow())[-1].decision is Decision.ROLL_BACK
    place = checkpoints(tmp_path)[-1]
    tensors, facts = load_checkpoint(place), facts_of(place)
    assert facts["step"] == 10
    assert all(tensor.isfinite().all() for tensor in tensors.values())


def test_the_last_checkpoints_are_kept_and_another_recipe_is_refused(tmp_path: Path) -> None:
    list(trainer(tmp_path, replace(RECIPE, save_every=2, keep=2)).follow())
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000010", "step-00000012"]
    with pytest.raises(FlywheelError, match="another recipe") as told:
        trainer(tmp_path, replace(RECIPE, seed=1))
    assert "\n" not in str(told.value)


def test_a_checkpoint_that_cannot_be_written_costs_none(tmp_path: Path) -> None:
    place = save_checkpoint(tmp_path, 1, {"a": torch.ones(2)}, {"fact": 1}, keep=1)
    (tmp_path / ".step-00000002.aside").write_text("in the way")
    with pytest.raises(FlywheelError, match="step 2 could not be written"):
        save_checkpoint(tmp_path, 2, {"a": torch.ones(2)}, {}, keep=1)
    assert checkpoints(tmp_path) == [place]
    tensors, facts = load_checkpoint(place), facts_of(place)
    assert facts == {"fact": 1, "step": 1}
    assert torch.equal(tensors["a"], torch.ones(2))
    (shard,) = place.glob("*.safetensors")
    shard.write_bytes(b"broken")
    with pytest.raises(FlywheelError, match="cannot be read as a checkpoint"):
        load_checkpoint(place)


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_the_last_good_checkpoint(tmp_path: Path) -> None:
    """A run that saves every step, killed 15 times, each time going on from where it was."""
    lot, last = random.Random(0), 0
    program = [sys.executable, str(Path(__file__).parents[1] / "small_run.py"), str(tmp_path)]
    for _ in range(15):
        run = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
        assert run.stdout is not None
        run.stdout.readline()
        time.sleep(lot.uniform(0, 0.4))
        run.send_signal(signal.SIGKILL)
        run.wait()
        facts = facts_of(checkpoints(tmp_path)[-1])
        assert facts["step"] > last
        last = facts["step"]
    assert len(checkpoints(tmp_path)) <= 3
