"""From pictures to the cause of a mode: what is planted in a generator, or in its judge, is found out by drawing again."""

from __future__ import annotations

from pathlib import Path

import pytest

from flywheel.facets import Facet
from flywheel.triage.attribution import Cause, Kind, Thresholds
from flywheel.workspace import Workspace
from pipelines import attributing
from pipelines.attributing import attribute
from pipelines.checkpoints import checkpoint_by_name
from pipelines.collecting import collect
from pipelines.confirming import confirm
from pipelines.evaluating import evaluate
from pipelines.executors import executor
from pipelines.experiments.trial import Trial
from pipelines.judges import CheckerJudge, Judge
from pipelines.judging import init_workspace
from pipelines.modes_shown import ModeShown, modes_shown
from pipelines.suites import items_of
from tests.pipelines.planted_generator import BlindJudge, PlantedGenerator

A = CheckerJudge(name="A")
BUDGET = 2_000.0


def quiet(step: str, done: int, total: int | None, counts: object) -> None: ...


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return init_workspace(str(tmp_path / "workspace"))


def trial_of(workspace: Workspace, judge: Judge = A, fails_in_100: int = 100, plainly: bool = False) -> Trial:
    """The generator was examined as usual; the mode of crosses that came of it."""
    generator = PlantedGenerator(where=str(workspace.path), fails_in_100=fails_in_100, plainly=plainly)
    written_down(workspace, generator.checkpoint_id)
    items = items_of("miniature:L1,L2", 90, "triage")
    evaluate(workspace, generator, items, judge, executor("local", 1), quiet)
    collect(workspace)
    (mode,) = [one for one in modes_shown(workspace) if one.facet == Facet.OBJECTS and one.parts]
    return Trial(
        workspace=workspace,
        mode=mode,
        generator=generator,
        judge=judge,
        executor=executor("local", 1),
        progress=quiet,
    )


def written_down(workspace: Workspace, checkpoint_id: str) -> None:
    """A checkpoint of this very id."""
    known = checkpoint_by_name(workspace, "planted")
    workspace.tables.update_rows(
        "checkpoints", [{"name": "planted", "checkpoint_id": checkpoint_id}], key="name", run_id="test"
    )
    assert known


def confirmed(trial: Trial) -> bool:
    return confirm(trial.workspace, trial.mode, trial.generator, trial.judge, trial.executor, trial.progress).stands_out


def state(workspace: Workspace, mode: ModeShown) -> str:
    rows = workspace.query(f"SELECT state FROM mode_states WHERE mode_id = '{mode.mode_id}'")
    return str(rows["state"].to_pylist()[0])


def test_what_is_never_drawn_is_confirmed_and_no_other_seed_helps(workspace: Workspace) -> None:
    trial = trial_of(workspace)
    assert trial.mode.parts == ("cross",)
    assert state(workspace, trial.mode) == "candidate"
    assert confirmed(trial)
    assert state(workspace, trial.mode) == "open"
    route = attribute(trial, BUDGET, Thresholds())
    assert route.cause is Cause.UNKNOWN  # what the generator was shown in training, nobody knows here
    assert not route.is_sure
    rows = workspace.query("SELECT kind, shares_json FROM experiments").to_pylist()
    shares = {row["kind"]: row["shares_json"] for row in rows}
    assert set(shares) == set(Kind)
    assert shares["coverage"] is None
    assert '"ever": {"mean": 0.0' in shares["reseed"]
    assert '"bad": {"mean": 1.0' in shares["judge"]


def test_what_comes_right_when_said_in_full_is_a_matter_of_phrasing(workspace: Workspace) -> None:
    trial = trial_of(workspace, plainly=True)
    assert attribute(trial, BUDGET, Thresholds()).cause is Cause.PHRASING
    before = {row["prompt"] for row in workspace.query("SELECT prompt FROM failures").to_pylist()}
    collect(workspace)
    roles = workspace.query("SELECT DISTINCT json_extract_string(labels_json, '$.role') AS role FROM suite_items")
    assert set(roles["role"].to_pylist()) == {"triage", "rewritten"}
    after = {row["prompt"] for row in workspace.query("SELECT prompt FROM failures").to_pylist()}
    rewritten = workspace.query(
        "SELECT prompt FROM suite_items WHERE json_extract_string(labels_json, '$.role') = 'rewritten'"
    )
    assert before <= after
    assert not after & set(rewritten["prompt"].to_pylist()) - before


def test_what_comes_right_now_and_then_is_unreliable(workspace: Workspace) -> None:
    trial = trial_of(workspace, fails_in_100=70)
    assert attribute(trial, BUDGET, Thresholds()).cause is Cause.UNRELIABLE
    (row,) = workspace.query("SELECT cause, track, measured_json FROM mode_states WHERE track IS NOT NULL").to_pylist()
    assert (row["cause"], row["track"]) == ("unreliable", "reinforcement")


def test_a_judge_that_is_wrong_is_found_out_before_anything_is_drawn(workspace: Workspace) -> None:
    trial = trial_of(workspace, BlindJudge(), fails_in_100=0)
    drawn = workspace.query("SELECT count(*) AS n FROM generations")["n"].to_pylist()
    assert attribute(trial, BUDGET, Thresholds()).cause is Cause.JUDGE
    assert workspace.query("SELECT count(*) AS n FROM generations")["n"].to_pylist() == drawn


def test_a_killed_attribution_goes_on_and_pays_nothing_twice(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = trial_of(workspace, fails_in_100=70)
    real = dict(attributing.EXPERIMENTS)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(attributing, "EXPERIMENTS", {**real, Kind.RESEED: killed})
        with pytest.raises(KeyboardInterrupt):
            attribute(trial, BUDGET, Thresholds())
    before = workspace.query("SELECT experiment_id FROM experiments ORDER BY 1").to_pylist()
    assert len(before) >= 2
    route = attribute(trial, BUDGET, Thresholds())
    again = attribute(trial, BUDGET, Thresholds())
    assert route == again
    ids = workspace.query("SELECT experiment_id FROM experiments ORDER BY 1").to_pylist()
    assert len({row["experiment_id"] for row in ids}) == len(ids) > len(before)
    assert workspace.query("SELECT count(*) AS n FROM attributions")["n"].to_pylist() == [1]
    routed = workspace.query("SELECT count(*) AS n FROM mode_events WHERE event = 'routed'")["n"].to_pylist()
    assert routed == [1]


def test_what_failed_by_luck_does_not_stand_out_again(workspace: Workspace) -> None:
    """A mode of something that is drawn well: as if its first prompts had been unlucky."""
    trial = trial_of(workspace)
    lucky = ModeShown(**{**{name: getattr(trial.mode, name) for name in ModeShown.__slots__}, "parts": ("heart",)})
    assert not confirm(workspace, lucky, trial.generator, trial.judge, trial.executor, trial.progress).stands_out
