"""The views that people and rules read, as SQL: `scores` (one wide row an image), `verdicts`, `funnel`, `survivors(n)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from filters.funnel import funnel_sql
from filters.pairs import pair_verdicts_sql
from filters.policy import Policy
from filters.verdicts import survivors_sql, verdicts_sql

# Wide or binary columns that no question needs on every row; they are one join away in their own tables.
LEFT_OUT = frozenset({"thumb", "fine", "keys", "boxes_json", "text"})
_IMAGE_COLUMNS = ("image_id", "format", "mode", "width_px", "height_px", "exif_orientation", "bytes", "uri")


def scores_sql(columns: Mapping[str, Sequence[str]], versions: Mapping[str, str]) -> str:
    """SQL of the view `scores`: every image, with each scorer's columns and `<scorer>_version` at `versions`.

    NULL in `<scorer>_version` means not measured; NULL in a column beside a version means that the scorer
    abstained. A column that `images` has already is not repeated. Where one image was seen at several places,
    dataset, licence and caption are those of the sighting that brought it in.
    """
    chosen = [f"i.{column}" for column in _IMAGE_COLUMNS]
    chosen += ["s.dataset", "s.licence", "s.caption", "s.original_key"]
    chosen += ["s.metadata_json->>'$.concept' AS concept", "g.representative_id"]
    joins = ["LEFT JOIN sources s ON s.source_id = i.source_id"]
    joins += ["LEFT JOIN duplicate_groups g ON g.image_id = i.image_id"]
    joins += [
        "LEFT JOIN (SELECT image_id, max(cosine) AS clip FROM alignment GROUP BY image_id) a ON a.image_id = i.image_id"
    ]
    joins += [
        "LEFT JOIN (SELECT image_id, max(tokens) AS caption_tokens FROM captions GROUP BY image_id) c ON c.image_id = i.image_id"
    ]
    chosen += ["a.clip", "c.caption_tokens"]
    for scorer, own in columns.items():
        joins.append(
            f"LEFT JOIN (SELECT * FROM score_{scorer} WHERE version = '{versions[scorer]}') "
            f"t_{scorer} ON t_{scorer}.image_id = i.image_id"
        )
        chosen.append(f"t_{scorer}.version AS {scorer}_version")
        chosen += [_column(scorer, name) for name in own if name not in LEFT_OUT and name not in _IMAGE_COLUMNS]
    return f"SELECT {', '.join(chosen)} FROM images i {' '.join(joins)}"


def judged_views(policy: Policy, columns: Mapping[str, Sequence[str]], versions: Mapping[str, str]) -> dict[str, str]:
    """Name -> SQL of every view that a policy gives a workspace. `survivors(n)` is a table macro."""
    return {
        "scores": scores_sql(columns, versions),
        "verdicts": verdicts_sql(policy),
        "pair_verdicts": pair_verdicts_sql(policy),
        "funnel": funnel_sql(policy),
        "survivors(n)": survivors_sql("n"),
    }


def _column(scorer: str, name: str) -> str:
    unknown = {"domain": "coalesce(t_domain.domain, 'unknown') AS domain"}
    return unknown.get(name, f"t_{scorer}.{name}")
