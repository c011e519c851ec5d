"""Ray Train runs what `python` runs: the same steps, the same folder, errors in one line."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "model"))
import small_model

from flywheel.errors import FlywheelError
from model.data.examples import offered
from model.train.jobs import GeneratorJob
from pipelines.ray_training import on_ray

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> GeneratorJob:
    folder = tmp_path_factory.mktemp("ray training")
    small_model.write_pictures(folder / "data", 24)
    small_model.model().save_pretrained(folder / "model")
    return GeneratorJob(
        recipe=replace(small_model.RECIPE, begins="weights", accumulate=2, edits=0.0),
        model=folder / "model",
        found=offered(folder / "data"),
        run=folder / "run",
        cache=folder / "cache",
        resume=False,
    )


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "log.jsonl").read_text().splitlines()]


def test_two_workers_take_the_steps_of_one(job: GeneratorJob) -> None:
    alone = replace(job, run=job.run.with_name("alone"))
    alone(lambda is_first: _Quiet())
    report = on_ray(job, 2)
    assert report["steps"] == 4
    assert Path(report["model"]) == job.run / "model"
    assert (job.run / "model" / "model_index.json").is_file()
    assert losses(job.run) == pytest.approx(losses(alone.run), rel=1e-3)


def test_what_goes_wrong_there_is_told_here_in_one_line(job: GeneratorJob) -> None:
    with pytest.raises(FlywheelError, match=r"training on Ray failed: .*cannot be shared by 2 workers") as told:
        on_ray(replace(job, recipe=replace(job.recipe, accumulate=3), run=job.run.with_name("odd")), 2)
    assert "\n" not in str(told.value)


class _Quiet:
    def __enter__(self):
        return lambda *told: None

    def __exit__(self, *error: object) -> None: ...
