"""One image, told to a person."""

from __future__ import annotations

from typing import Any

from flywheel.cli.app import Printer, table


def print_explanation(told: dict[str, Any], say: Printer) -> None:
    """Facts first, then where it was seen, what was measured, and the verdict at every stage."""
    image = told["image"]
    say(f"image {image['image_id']}")
    say(f"  {image['format']} {image['mode']} {image['width_px']}x{image['height_px']} px, {image['bytes']} bytes")
    for source in told["sources"]:
        say(f"  seen at {source['uri']}  (dataset {source['dataset']}, licence {source['licence'] or 'unknown'})")
        if source["caption"]:
            say(f"    caption: {source['caption']}")
    for row in told["duplicates"]:
        other = row["representative_id"] if row["image_id"] == image["image_id"] else row["image_id"]
        role = "is a near-duplicate of" if row["image_id"] == image["image_id"] else "represents"
        say(f"  {role} {other}  ({row['proof']}, {row['distance']} bits apart)")
    for outcome in told["outcomes"]:
        if outcome["status"] != "ok":
            say(f"  {outcome['step']}: {outcome['status']} {outcome['reason']} ({outcome['detail']})")
    facts = set(image) | {"representative_id"}
    scores = [[name, value] for name, value in told["scores"].items() if value is not None and name not in facts]
    table("scores", ["score", "value"], scores)
    columns = ["stage", "verdict", "rule", "value", "threshold", "bucket"]
    table("verdicts", columns, [[row.get(name) for name in columns] for row in told["verdicts"]])
    for row in told["snapshots"]:
        say(f"  in snapshot {row['snapshot_id']} (stage {row['stage']}, bucket {row['bucket']})")
