"""Several workers are one, but for rounding; a checkpoint of any number of them is read by any other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_run import batches, network
from workers import SHARED

from flywheel.errors import UsageError
from model.train.checkpoint import checkpoints, load_checkpoint
from model.train.loop import Trainer
from model.train.objective import generator_task
from model.train.sharding import spread
from model.train.world import World

PROGRAM = Path(__file__).parents[1] / "workers.py"


def of_two(run: Path, steps: int, how: str) -> str:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*launch, str(PROGRAM), str(run), str(steps), how], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def of_one(run: Path, steps: int) -> None:
    for told in Trainer(SHARED, generator_task(network(), SHARED), batches, run).follow():
        if told.step == steps:
            break


def last(run: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(checkpoints(run)[-1])


@pytest.mark.slow
@pytest.mark.parametrize("how", ["sharded", "whole"])
def test_two_workers_are_one_and_each_goes_on_from_the_other(tmp_path: Path, how: str) -> None:
    of_one(tmp_path / "one", 6)
    told = of_two(tmp_path / "two", 6, how)
    assert [line.split()[0] for line in told.splitlines()] == ["1", "2", "3", "4", "5", "6"]
    of_two(tmp_path / "two then one", 3, how)
    of_one(tmp_path / "two then one", 6)
    of_one(tmp_path / "one then two", 3)
    of_two(tmp_path / "one then two", 6, how)
    wanted = last(tmp_path / "one")
    for name in ("two", "two then one", "one then two"):
        found = last(tmp_path / name)
        assert found.keys() == wanted.keys()
        for key, tensor in wanted.items():
            torch.testing.assert_close(
                found[key], tensor, rtol=2e-3, atol=2e-5, msg=lambda said, key=key: f"{key}: {said}"
            )


def test_batches_that_cannot_be_shared_are_refused() -> None:
    with pytest.raises(UsageError, match="a step of 2 batches cannot be shared by 3 workers: --set accumulate=3"):
        spread(generator_task(network(), SHARED), SHARED, World(size=3))
