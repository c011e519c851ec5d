"""The demo: render a sample set with planted truth, curate it as anybody's folder, hold the answers to the truth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from filters.planted.judge import FilterScore, Observed, judge
from filters.planted.render import render
from filters.planted.truth import IMAGES_FOLDER, TRUTH_FILE, Planted, load_truth
from filters.verdicts import violations_sql
from flywheel.workspace import Workspace
from flywheel.workspace.places import canonical_uri
from flywheel.workspace.workspace import CONFIG
from pipelines.engine import Progress
from pipelines.judging import init_workspace, judging_views, open_workspace
from pipelines.policies import active_policy

PROFILE = "miniature"  # its sizes fit the sample set; the quality rules are those of every profile
SEED = 7
# The stage by which all quality rules have entered (design section 5).
_JUDGED_AT = 4
# Which rules speak of which planted fault.
_FAULT_RULES = {
    "blur": ("sharpness",),
    "flat": ("flat", "entropy"),
    "noise": ("noise",),
    "compression": ("blockiness", "jpeg_quality"),
    "rotated": ("rotation",),
}


def sample_set(root: Path, images: int, progress: Progress) -> list[Planted]:
    """Render the sample set under `root`, or load it when it is there already."""
    if (root / TRUTH_FILE).exists():
        return load_truth(root)
    return render(root, seed=SEED, images=images, progress=lambda done, total: progress("render", done, total, {}))


def demo_workspace(location: Path) -> Workspace:
    """The demo's own workspace; an earlier one is used again."""
    if (location / CONFIG).exists():
        return open_workspace(str(location))
    return init_workspace(str(location), PROFILE)


def score_filters(workspace: Workspace, root: Path, planted: Sequence[Planted]) -> list[FilterScore]:
    """Precision and recall of every filter on the planted truth."""
    return judge(planted, observe(workspace, root))


def observe(workspace: Workspace, root: Path) -> Observed:
    """What the tables say of the sample set, by path relative to its root."""
    base = canonical_uri(str(root))

    def path(uri: str) -> str:
        return unquote(uri.removeprefix(base + "/"))

    ended = workspace.query(
        "SELECT s.uri, coalesce(o.reason, o.status) AS outcome, s.image_id, i.width_px, i.height_px, i.exif_orientation "
        "FROM sources s JOIN last_outcomes o ON o.subject_id = s.source_id AND o.step = 'ingest' "
        f"LEFT JOIN images i ON i.image_id = s.image_id WHERE starts_with(s.uri, '{base}/{IMAGES_FOLDER}/')"
    ).to_pylist()
    seen = {path(row["uri"]): row for row in ended}
    decoded = {name: row for name, row in seen.items() if row["image_id"]}
    return Observed(
        outcome={name: row["outcome"] for name, row in seen.items()},
        image_id={name: row["image_id"] for name, row in decoded.items()},
        size={name: (row["width_px"], row["height_px"]) for name, row in decoded.items()},
        orientation={name: row["exif_orientation"] for name, row in decoded.items()},
        representative={
            row["image_id"]: row["representative_id"]
            for row in workspace.query("SELECT image_id, representative_id FROM duplicate_groups").to_pylist()
        },
        flagged=_flagged(workspace),
        domain={
            row["image_id"]: row["domain"]
            for row in workspace.query("SELECT image_id, domain FROM scores", judging_views(workspace)).to_pylist()
        },
    )


def _flagged(workspace: Workspace) -> dict[str, set[str]]:
    violations = workspace.query(violations_sql(active_policy(workspace), _JUDGED_AT), judging_views(workspace))
    by_rule: dict[str, set[str]] = defaultdict(set)
    for row in violations.to_pylist():
        by_rule[row["rule"]].add(row["image_id"])
    return {fault: set().union(*(by_rule[rule] for rule in rules)) for fault, rules in _FAULT_RULES.items()}
