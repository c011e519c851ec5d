"""The demo's other half: pictures of the rendered world, which the bundled models know, with faults that only models see."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from filters.planted.judge import QUALITY_TARGET, FilterScore
from filters.rules import RULES
from filters.verdicts import violations_sql
from flywheel.workspace import Workspace
from flywheel.workspace.places import canonical_uri
from model.miniature.planted import TRUTH_FILE, WRONG_CAPTION, PlantedPicture, load_world, render_world
from pipelines.engine import Progress
from pipelines.judging import judging_views
from pipelines.policies import active_policy
from pipelines.searching import Wanted

SEED = 7
PICTURES = 160
# Which rule speaks of which planted fault.
_RULE_OF = {"degraded": "aesthetic", "watermark": "watermark", "unsafe": "nsfw", WRONG_CAPTION: "clip"}
_NOTES = {
    "aesthetic": "degraded pictures below the taste asked for",
    "watermark": "pictures with a mark across them",
    "nsfw": "pictures with this world's sign of what is not for everybody",
    "clip": "pictures that came with the caption of another",
}


def world_set(root: Path, pictures: int, progress: Progress) -> list[PlantedPicture]:
    """Render the pictures under `root`, or load them when they are there already."""
    if (root / TRUTH_FILE).exists():
        return load_world(root)
    return render_world(root, SEED, pictures, lambda done, total: progress("render world", done, total, {}))


def score_models(workspace: Workspace, root: Path, planted: Sequence[PlantedPicture]) -> list[FilterScore]:
    """Precision and recall of each rule that a model speaks for, at the stage where the rule enters.

    A picture with another fault may be flagged or not: a degraded one may well not fit its caption. What cheaper rules had
    dropped before any model was asked is not counted.
    """
    base = canonical_uri(str(root))
    rows = workspace.query(f"SELECT image_id, uri FROM sources WHERE starts_with(uri, '{base}/')").to_pylist()
    asked = {
        row["subject_id"] for row in workspace.query("SELECT subject_id FROM outcomes WHERE step = 'embed'").to_pylist()
    }
    of = {row["uri"].removeprefix(f"{base}/"): row["image_id"] for row in rows if row["image_id"] in asked}
    flagged = _flagged(workspace)
    return [_score(rule, fault, planted, of, flagged[rule]) for fault, rule in _RULE_OF.items()]


def searches(root: Path, planted: Sequence[PlantedPicture]) -> dict[str, Wanted]:
    """By words, by a picture, by both rankings; by name."""
    shown = next(item for item in planted if item.sort == "emblem" and item.fault is None)
    words = next(item for item in planted if item.sort == "scene" and item.fault is None).caption
    return {
        "a big red star": Wanted(words="a big red star", k=6, mode="text"),
        f"like {Path(shown.path).name}": Wanted(picture=(root / shown.path).read_bytes(), k=6),
        words: Wanted(words=words, k=6, mode="hybrid"),
    }


def _flagged(workspace: Workspace) -> dict[str, set[str]]:
    views, policy = judging_views(workspace), active_policy(workspace)
    found: dict[str, set[str]] = defaultdict(set)
    for stage in {RULES[rule].enters_at_stage for rule in _RULE_OF.values()}:
        for row in workspace.query(violations_sql(policy, stage), views).to_pylist():
            rule = row["rule"]
            if rule in _NOTES and RULES[rule].enters_at_stage == stage:
                found[rule].add(row["image_id"])
    return found


def _score(
    rule: str, fault: str, planted: Sequence[PlantedPicture], of: dict[str, str], flagged: set[str]
) -> FilterScore:
    with_it = {of[item.path] for item in planted if item.fault == fault and item.path in of}
    clean = {of[item.path] for item in planted if item.fault is None and item.path in of}
    hit, wrong = len(flagged & with_it), len(flagged & clean)
    return FilterScore(
        name=rule,
        precision=hit / (hit + wrong) if hit + wrong else 1.0,
        recall=hit / len(with_it) if with_it else 1.0,
        planted=len(with_it),
        found=hit + wrong,
        target=QUALITY_TARGET,
        note=f"{_NOTES[rule]}, at stage {RULES[rule].enters_at_stage}",
    )
