"""Commands that hand data on: snapshot, snapshots, export."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli.app import DEFAULT, AsJson, Printer, Where, app, emit, open_workspace, progress, table

if TYPE_CHECKING:
    from flywheel.workspace import Workspace
    from pipelines.snapshot import FreezeReport

AllowOption = Annotated[
    str, typer.Option("--allow-unjudged", metavar="RULE,RULE", help="Take images that only these rules left unjudged.")
]


@app.command()
def snapshot(
    stage: Annotated[int, typer.Option(help="The stage to freeze, 1 to 6.")],
    workspace: Where = DEFAULT,
    allow_unjudged: AllowOption = "",
    as_json: AsJson = False,
) -> None:
    """Freeze what survives a stage under the active policy. The same content is the same snapshot."""
    report = freeze_stage(open_workspace(workspace), stage, allow_unjudged)

    def lines(say: Printer) -> None:
        _say_frozen(say, report)
        say(f"next: flywheel export {report.snapshot_id} --to FOLDER --format webdataset")

    emit(as_json, asdict(report), lines)


@app.command()
def snapshots(workspace: Where = DEFAULT, as_json: AsJson = False) -> None:
    """List the snapshots, the newest first."""
    from pipelines.snapshot import list_snapshots

    found = list_snapshots(open_workspace(workspace))
    columns = ["snapshot_id", "stage", "images", "state", "frozen_at", "policy_id"]
    rows = [[row[name] for name in columns] for row in found]
    emit(
        as_json,
        found,
        lambda say: table(None, columns, rows) if rows else say("no snapshots; flywheel snapshot --stage N"),
    )


@app.command()
def export(
    to: Annotated[
        str, typer.Option("--to", help="An empty folder or s3:// prefix, or one that holds this very export.")
    ],
    format_name: Annotated[str, typer.Option("--format", help="webdataset, parquet, lance or imagefolder.")],
    snapshot_id: Annotated[str | None, typer.Argument(metavar="[SNAPSHOT]", help="See `flywheel snapshots`.")] = None,
    stage: Annotated[int | None, typer.Option(help="Instead of a snapshot: freeze this stage first.")] = None,
    workspace: Where = DEFAULT,
    shard_mb: Annotated[int, typer.Option(help="Megabytes of originals a shard.", min=1)] = 256,
    allow_unjudged: AllowOption = "",
    as_json: AsJson = False,
) -> None:
    """Write a snapshot's original bytes, captions and scores as shards. Killed, it goes on where it stopped."""
    from pipelines.export import export as export_snapshot
    from pipelines.judging import judging_views

    _check_choice(snapshot_id, stage, allow_unjudged)
    opened = open_workspace(workspace)
    frozen = freeze_stage(opened, stage, allow_unjudged) if stage is not None else None
    chosen = frozen.snapshot_id if frozen else str(snapshot_id)
    with progress() as show:
        report = export_snapshot(
            opened,
            chosen,
            to,
            format_name,
            views=judging_views(opened),
            progress=show,
            shard_bytes=shard_mb * 1_000_000,
        )

    def lines(say: Printer) -> None:
        if frozen:
            _say_frozen(say, frozen)
        done = f"{report.counts['written']} written, {report.counts['present']} there already"
        say(f"{report.to} holds snapshot {chosen} as {report.format}")
        say(f"{report.counts['in']} images in {report.shards} shards ({done})")

    emit(as_json, asdict(report), lines)


def _check_choice(snapshot_id: str | None, stage: int | None, allow_unjudged: str) -> None:
    from flywheel.errors import UsageError

    if (snapshot_id is None) == (stage is None):
        raise UsageError("name a snapshot (see `flywheel snapshots`) or a --stage, one of the two")
    if snapshot_id is not None and allow_unjudged:
        raise UsageError("a snapshot is frozen already: --allow-unjudged goes with --stage")


def freeze_stage(workspace: Workspace, stage: int, allow_unjudged: str) -> FreezeReport:
    """Freeze a stage under the active policy; `allow_unjudged` are rules, divided by commas."""
    from filters.policy import check_versions
    from pipelines.judging import judging_views, score_versions
    from pipelines.policies import active_policy
    from pipelines.snapshot import freeze

    policy = active_policy(workspace)
    check_versions(policy, score_versions())
    allowed = [rule.strip() for rule in allow_unjudged.split(",") if rule.strip()]
    views = judging_views(workspace, policy, allowed)
    return freeze(workspace, stage, views=views, policy_id=policy.policy_id, allow_unjudged=allowed)


def _say_frozen(say: Printer, report: FreezeReport) -> None:
    verb = "froze" if report.run_id else "already frozen:"
    counts = ", ".join(f"{name} {value}" for name, value in report.counts.items())
    say(f"{verb} stage {report.stage} as snapshot {report.snapshot_id}: {report.images} images ({counts})")
