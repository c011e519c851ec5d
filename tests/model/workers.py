"""The small run among several workers: started by `torch.distributed.run`, as `workers.py RUN STEPS sharded|whole`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from small_run import RECIPE, batches, network

from model.train import sharding
from model.train.loop import Trainer
from model.train.objective import generator_task
from model.train.world import joined

SHARED = replace(RECIPE, accumulate=2, steps=6, save_every=3, keep=5)

if __name__ == "__main__":
    if sys.argv[3] == "sharded":
        sharding.SMALL = 0
    with joined() as world:
        run = Trainer(SHARED, generator_task(network(), SHARED), batches, Path(sys.argv[1]), world)
        for told in run.follow():
            if world.is_first:
                print(told.step, f"{told.loss:.6f}", flush=True)
            if told.step == int(sys.argv[2]):
                break
