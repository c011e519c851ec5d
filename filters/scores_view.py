"""The views that people and rules read, as SQL: `scores` (one wide row an image), `verdicts`, `funnel`, `survivors(n)`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from filters.funnel import funnel_sql
from filters.pairs import pair_verdicts_sql
from filters.policy import Policy
from filters.scorers import SCORERS
from filters.verdicts import survivors_sql, verdicts_sql
from flywheel.buckets import framed_sql

# Wide or binary columns that no question needs on every row; they are one join away in their own tables.
LEFT_OUT = frozenset({"thumb", "fine", "keys", "boxes_json", "text"})
_IMAGE_COLUMNS = ("image_id", "format", "mode", "width_px", "height_px", "exif_orientation", "bytes", "uri")


# Who stands for whom: members and the representative that they match, which belongs to its own group.
_GROUPS = (
    "SELECT image_id, representative_id FROM duplicate_groups "
    "UNION SELECT representative_id, representative_id FROM duplicate_groups"
)


def scores_sql(
    columns: Mapping[str, Sequence[str]], versions: Mapping[str, str], caption_kinds: Sequence[str] = ("general",)
) -> str:
    """SQL of the view `scores`: every image, with each scorer's columns and `<scorer>_version` at `versions`.

    NULL in `<scorer>_version` means not measured; NULL in a column beside a version means that the scorer
    abstained. A column that `images` has already is not repeated. Where one image was seen at several places,
    dataset, licence and caption are those of the sighting that brought it in. `clip` and `caption_tokens` are of the
    first of `caption_kinds` that the image has, the cosine by the model that `versions` names for it. `bucket`, `crop_loss`, `cropped_px`
    and `short_side_px` are those of `flywheel.buckets`.
    """
    chosen = [f"i.{column}" for column in _IMAGE_COLUMNS]
    chosen += ["s.dataset", "s.licence", "s.caption", "s.original_key"]
    chosen += ["s.metadata_json->>'$.concept' AS concept", "g.representative_id"]
    joins = ["LEFT JOIN sources s ON s.source_id = i.source_id"]
    joins += [f"LEFT JOIN ({_GROUPS}) g ON g.image_id = i.image_id"]
    joins += [f"LEFT JOIN ({_agreement_sql(versions.get('clip', ''), caption_kinds)}) a ON a.image_id = i.image_id"]
    joins += [
        "LEFT JOIN (SELECT image_id, list(tag ORDER BY tag) AS tags FROM tags GROUP BY image_id) l ON l.image_id = i.image_id"
    ]
    chosen += ["a.clip", "a.caption_tokens", "coalesce(l.tags, []) AS tags"]
    for scorer, own in columns.items():
        joins.append(
            f"LEFT JOIN (SELECT * FROM score_{scorer} WHERE version = {_quoted(versions.get(scorer, ''))}) "
            f"t_{scorer} ON t_{scorer}.image_id = i.image_id"
        )
        chosen.append(f"t_{scorer}.version AS {scorer}_version")
        chosen += [_column(scorer, name) for name in own if name not in LEFT_OUT and name not in _IMAGE_COLUMNS]
    return framed_sql(f"(SELECT {', '.join(chosen)} FROM images i {' '.join(joins)})")


# Numbers that depend on the weights at hand: which of them count is the policy's to say.
BY_MODEL = frozenset({"clip", *(name for name, scorer in SCORERS.items() if scorer.reads == "model")})


def _agreement_sql(model_id: str, kinds: Sequence[str]) -> str:
    """SQL: image_id, clip, caption_tokens, of each image's best caption of the first kind that it has."""
    listed = f"[{', '.join(map(_quoted, kinds))}]"
    order = f"row(list_position({listed}, kind), -cosine)"
    return (
        f"SELECT image_id, arg_min(cosine, {order}) AS clip, arg_min(tokens, {order}) AS caption_tokens FROM alignment "
        f"WHERE model_id = {_quoted(model_id)} AND list_contains({listed}, kind) GROUP BY image_id"
    )


def judged_views(
    policy: Policy,
    columns: Mapping[str, Sequence[str]],
    versions: Mapping[str, str],
    allow_unjudged: Collection[str] = (),
) -> dict[str, str]:
    """Name -> SQL of every view that a policy gives a workspace. `survivors(n)` is a table macro.

    Under `allow_unjudged` the verdicts are as if those rules had found nothing where their number is missing.
    """
    pinned = {name: version for name, version in policy.calibrated_for.items() if name in BY_MODEL}
    return {
        "scores": scores_sql(columns, {**versions, **pinned}, policy.caption_kinds),
        "verdicts": verdicts_sql(policy, allow_unjudged=allow_unjudged),
        "pair_verdicts": pair_verdicts_sql(policy),
        "funnel": funnel_sql(policy),
        "survivors(n)": survivors_sql("n"),
    }


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _column(scorer: str, name: str) -> str:
    unknown = {"domain": "coalesce(t_domain.domain, 'unknown') AS domain"}
    return unknown.get(name, f"t_{scorer}.{name}")
