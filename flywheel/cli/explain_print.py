"""One image, or one file that became none, told to a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from flywheel.cli.app import Printer, table

# Our choice: what of a longer text helps to recognize it.
_TEXT_CHARS = 240
_SHOWN_DIGITS = 12

Row = Mapping[str, Any]


def print_explanation(told: Row, say: Printer) -> None:
    """Facts first, then where it was seen, what was measured, and the verdict at every stage."""
    if "forgotten" in told:
        _say_forgotten(told["forgotten"], say)
    elif "image" in told:
        _say_image(told, say)
    else:
        _say_failed(told, say)


def _say_forgotten(stone: Row, say: Printer) -> None:
    why = f": {short(stone['why'])}" if stone["why"] else ""
    say(f"image {stone['image_id']} was forgotten at {stone['at']} by {stone['actor']}{why}")
    say(f"  receipt {stone['receipt_id']}; it is refused wherever it is met again")


def _say_failed(told: Row, say: Printer) -> None:
    """Each sighting with how its last attempt ended; subjects that were seen nowhere (lines of listings) by id."""
    uris = {row["source_id"]: row["uri"] for row in told["sources"]}
    ended = {subject: list(rows) for subject, rows in groupby(told["outcomes"], key=lambda row: row["subject_id"])}
    for subject in dict.fromkeys([*uris, *ended]):
        say(uris.get(subject, f"subject {subject}"))
        for source in told["sources"]:
            if source["source_id"] == subject:
                say(f"  dataset {source['dataset'] or 'unknown'}, from {source['origin'] or 'unknown'}")
        _say_outcomes(ended.get(subject, []), say)
        if subject not in ended:
            say("  it has no outcome yet: its run was interrupted; start it again")


def _say_image(told: Row, say: Printer) -> None:
    image = told["image"]
    say(f"image {image['image_id']}")
    say(f"  {image['format']} {image['mode']} {image['width_px']}x{image['height_px']} px, {image['bytes']} bytes")
    for source in told["sources"]:
        licence = source["licence"] or "unknown"
        say(f"  seen at {source['uri']}  (dataset {source['dataset'] or 'unknown'}, licence {licence})")
        if source["caption"]:
            say(f"    caption: {short(source['caption'])}")
    if told["failed_there"]["sources"]:
        say("  other bytes at the same place were refused:")
        _say_failed(told["failed_there"], lambda line: say(f"    {line}"))
    if told["text"]:
        say(f"  written in it: {short(told['text'])}")
    _say_duplicates(told, say)
    _say_outcomes(told["outcomes"], say)
    facts = set(image) | {"representative_id", "caption"}
    scores = [[name, _cell(value)] for name, value in told["scores"].items() if value is not None and name not in facts]
    table("scores", ["score", "value"], scores)
    _say_verdicts(told, say)
    for pair in told["pairs"]:
        _say_pair(pair, say)
    for row in told["snapshots"]:
        say(f"in snapshot {row['snapshot_id']} (stage {row['stage']}, bucket {row['bucket']})")


def _say_duplicates(told: Row, say: Printer) -> None:
    mine = told["image"]["image_id"]
    for row in told["duplicates"]:
        is_member = row["image_id"] == mine
        other = row["representative_id"] if is_member else row["image_id"]
        role = "is a near-duplicate of" if is_member else "represents"
        say(f"  {role} {other}  ({row['proof']}, {row['distance']} bits apart)")


def _say_outcomes(outcomes: Sequence[Row], say: Printer) -> None:
    """What did not go well, and what to do. Attempts that a later one made good are left out."""
    for row in outcomes:
        if row["last"] and row["status"] not in ("ok", "known"):
            attempt = f", attempt {row['attempt']}" if row["attempt"] > 1 else ""
            detail = f" ({short(row['detail'])})" if row["detail"] else ""
            say(f"  {row['step']}: {row['status']}, {row['reason'] or 'no reason known'}{detail}{attempt}")
            advice = f"; {row['to_do']}" if row["to_do"] else ""
            say(f"    retryable: {'yes' if row['retryable'] else 'no'}{advice}")


def _say_verdicts(told: Row, say: Printer) -> None:
    policy = told["policy"]
    columns = ["stage", "verdict", "rule", "value", "threshold", "violates", "unjudged", "bucket"]
    rows = [
        [
            *(row[name] for name in columns[:5]),
            ", ".join(row["violated"]) or None,
            ", ".join(row["unjudged_rules"] or ()) or None,
            row["bucket"],
        ]
        for row in told["verdicts"]
    ]
    say(f"judged by policy {policy['name']} ({policy['policy_id']})")
    table(None, columns, rows)


def _say_pair(pair: Row, say: Printer) -> None:
    say(f"{pair['role']} of edit pair {pair['pair_id'][:_SHOWN_DIGITS]} (dataset {pair['dataset'] or 'unknown'})")
    say(f"  instruction: {short(pair['instruction'] or '')}")
    references = ", ".join(name[:_SHOWN_DIGITS] for name in pair["reference_ids"])
    say(f"  references {references}; target {pair['target_id'][:_SHOWN_DIGITS]}")
    for score in pair["scores"]:
        say(f"  consistency {score['consistency']:.4g}, {score['changed_area']:.0%} of the area changed")
    for line in _pair_verdicts(pair["verdicts"]):
        say(f"  {line}")


def _pair_verdicts(verdicts: Sequence[Row]) -> Iterator[str]:
    """Neighbouring stages that judge alike in one line."""

    def ground(row: Row) -> str:
        if row["verdict"] == "kept":
            return "kept"
        if row["verdict"] == "unjudged":
            return f"unjudged for want of {', '.join(row['unjudged_rules'])}"
        image = f", picture {row['image_id'][:_SHOWN_DIGITS]}" if row["image_id"] else ""
        limit = f" against {row['threshold']:.4g}" if row["threshold"] is not None else ""
        value = f" {row['value']:.4g}{limit}" if row["value"] is not None else ""
        return f"dropped by {row['rule']}{value}{image}"

    for told, rows in groupby(verdicts, key=ground):
        stages = [row["stage"] for row in rows]
        yield f"stage {stages[0]}: {told}" if len(stages) == 1 else f"stages {stages[0]} to {stages[-1]}: {told}"


def _cell(value: Any) -> Any:
    return short(value) if isinstance(value, str) else value


def short(text: str) -> str:
    """The beginning of a text, on one line."""
    told = " ".join(text.split())
    return told if len(told) <= _TEXT_CHARS else told[: _TEXT_CHARS - 1] + "…"
