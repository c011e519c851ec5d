"""Published human judgements as JSON: TIFA's faithfulness scores, ImageReward's rankings.

Neither says what is wrong, only how much: their facets are empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flywheel.errors import UsageError
from flywheel.signals.feedback import Feedback

TIFA, IMAGE_REWARD = "tifa human scores", "imagereward rankings"
_LEAST, _BEST = 1, 5  # TIFA's scale (Hu et al. 2023, arXiv 2303.11897)


def is_tifa(document: Any) -> bool:
    return isinstance(document, dict) and bool(document) and _has(next(iter(document.values())), "human_scores")


def is_image_reward(document: Any) -> bool:
    return isinstance(document, list) and bool(document) and _has(document[0], "ranking", "generations")


def tifa(document: Mapping[str, Any], place: str) -> Iterator[Feedback]:
    """One a rater. Raises UsageError for a score off the scale."""
    for key, row in document.items():
        for rater, score in enumerate(row["human_scores"], 1):
            if not _LEAST <= score <= _BEST:
                raise UsageError(f"{place}: {key}: a score is {_LEAST} to {_BEST}, not {score!r}")
            yield Feedback(
                source=TIFA,
                prompt=row["text"],
                image=row["image_path"],
                checkpoint=key.removeprefix(row["text_id"]).lstrip("_"),
                score=(score - _LEAST) / (_BEST - _LEAST),
                actor=f"rater {rater} of {key}",  # of no other picture, as far as the file says
            )


def image_reward(document: list[Mapping[str, Any]], place: str) -> Iterator[Feedback]:
    """One a picture (Xu et al. 2023, arXiv 2304.05977): its rank is the share of the others that it was put before.

    Ties count half. Raises UsageError where pictures and ranks are not as many.
    """
    for row in document:
        ranks, pictures = row["ranking"], row["generations"]
        if len(ranks) != len(pictures) or len(ranks) < 2:
            raise UsageError(f"{place}: {row.get('id')}: a rank for each of at least two pictures")
        for at, picture in enumerate(pictures):
            others = [rank for other, rank in enumerate(ranks) if other != at]
            beaten = sum((ranks[at] < rank) + (ranks[at] == rank) / 2 for rank in others)
            yield Feedback(
                source=IMAGE_REWARD,
                prompt=row["prompt"],
                image=picture,
                rank=beaten / len(others),
                actor=f"rater of {row['id']}",
            )


def _has(row: Any, *names: str) -> bool:
    return isinstance(row, dict) and all(name in row for name in names)
