"""Calibration end to end: a scorer moves on, the proposed policy keeps what the old one kept."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from filters.policy import bundled_text, parse
from filters.rules import RULES
from filters.scorers import SCORERS
from flywheel.errors import PolicyError, UsageError
from flywheel.schemas import TABLES
from flywheel.workspace import Workspace
from pipelines.calibration import calibrate
from pipelines.filtering import funnel_under
from pipelines.judging import init_workspace
from pipelines.policies import activate, active_policy

IMAGES = 120
# Judges by the tone of pictures alone.
POLICY = bundled_text("cpu").replace(
    "disabled = []", f"disabled = {[name for name in RULES if name not in ('entropy', 'flat', 'luma')]}"
)


def _add(workspace: Workspace, table: str, rows: list[dict[str, Any]]) -> None:
    schema = TABLES[table].schema if table in TABLES else SCORERS[table.removeprefix("score_")].table.schema
    full = [dict.fromkeys(schema.names) | row for row in rows]
    workspace.tables.append(table, pa.Table.from_pylist(full, schema=schema), run_id="hand")


def _tone(version: str, times: float, plus: float) -> list[dict[str, Any]]:
    chance = np.random.default_rng(5)
    rows = []
    for number in range(IMAGES):
        told = {
            "entropy_bits": chance.uniform(0, 8),
            "luma_mean": chance.uniform(0, 1),
            "flat_share": chance.uniform(0, 1),
        }
        moved = {column: value * times + plus for column, value in told.items()}
        rows.append({"image_id": f"{number:064x}", "version": version, **moved})
    return rows


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Photographs and others, measured at the first version."""
    made = init_workspace(str(tmp_path / "ws"), "cpu")
    activate(made, POLICY)
    sides = {"format": "JPEG", "mode": "RGB", "width_px": 640, "height_px": 480, "bytes": 1}
    _add(
        made,
        "images",
        [{"image_id": f"{n:064x}", "uri": f"file:///{n}", "source_id": "s", **sides} for n in range(IMAGES)],
    )
    photos = [
        {"image_id": f"{n:064x}", "version": SCORERS["domain"].version, "domain": "photo"} for n in range(IMAGES // 2)
    ]
    _add(made, "score_domain", photos)
    _add(made, "score_tone", _tone("tone-1", 1.0, 0.0))
    return made


def _move_on(monkeypatch: pytest.MonkeyPatch, *scorers: str) -> None:
    for name in scorers:
        monkeypatch.setitem(SCORERS, name, dataclasses.replace(SCORERS[name], version=f"{name}-2"))


def test_the_proposed_policy_keeps_what_the_old_one_kept(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    before = funnel_under(workspace, parse(POLICY))
    assert before.stage(6).total.dropped_total > before.stage(1).total.dropped_total > 0
    _move_on(monkeypatch, "tone")
    _add(workspace, "score_tone", _tone("tone-2", 0.5, 0.1))
    proposal = calibrate(workspace)
    after = funnel_under(workspace, parse(proposal.text))
    assert [stage.total for stage in after.stages] == [stage.total for stage in before.stages]
    assert "tone scores: tone-1 becomes tone-2" in proposal.changes


def test_the_same_numbers_keep_every_threshold(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    _move_on(monkeypatch, "tone")
    _add(workspace, "score_tone", _tone("tone-2", 1.0, 0.0))
    assert calibrate(workspace).changes == ("tone scores: tone-1 becomes tone-2",)


def test_a_scorer_without_thresholds_changes_its_version_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The duplicate rule reads hashes and has no threshold, yet refuses those of another version."""
    made = init_workspace(str(tmp_path / "ws"), "cpu")
    with pytest.raises(UsageError, match="nothing to do"):
        calibrate(made)
    _move_on(monkeypatch, "phash")
    with pytest.raises(PolicyError, match="policy calibrate"):
        funnel_under(made, active_policy(made))
    proposal = calibrate(made)
    assert proposal.changes == ("phash scores: phash-1 becomes phash-2",)
    assert funnel_under(made, parse(proposal.text)).images == 0


def test_too_few_images_at_both_versions_are_refused(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    _move_on(monkeypatch, "tone")
    _add(workspace, "score_tone", _tone("tone-2", 1.0, 0.0)[:10])
    with pytest.raises(PolicyError, match="rule entropy: 10 images"):
        calibrate(workspace)
