"""Commands that look after images: forget, verify."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer

from flywheel.cli.app import DEFAULT, AsJson, Printer, Where, app, emit, open_workspace, progress, table


@app.command()
def forget(
    images: Annotated[
        list[str] | None,
        typer.Argument(metavar="IMAGE…", help="Image ids (8 digits are enough), source paths or URIs."),
    ] = None,
    workspace: Where = DEFAULT,
    where: Annotated[str | None, typer.Option(help="A condition over the columns of scores and sources.")] = None,
    with_duplicates: Annotated[bool, typer.Option("--with-duplicates", help="And their duplicates.")] = False,
    why: Annotated[str, typer.Option(help="The reason, kept with the tombstone and the receipt.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go and what would remain.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove images for good: rows, their history, packs, reports. They cannot be ingested again.

    Without images it completes a forgetting that was killed. Versions of tables that held the images
    cannot be read afterwards. Originals outside the workspace stay with their owner.
    """
    import getpass

    from flywheel.errors import UsageError
    from pipelines import forget as forgetting
    from pipelines.chosen import fitting, named
    from pipelines.chosen import with_duplicates as duplicates_too
    from pipelines.judging import judging_views

    opened = open_workspace(workspace)
    views = judging_views(opened)
    chosen = set(named(opened, images or []))
    if where is not None:
        chosen |= set(fitting(opened, where, views))
    if with_duplicates:
        chosen |= set(duplicates_too(opened, chosen))
    if not chosen and (images or where is not None or not forgetting.pending(opened)):
        raise UsageError("no image fits" if where is not None else "name the images to forget, or give --where")
    if dry_run:
        told = forgetting.preview(opened, chosen)
        emit(as_json, {"dry_run": True, **told}, lambda say: _preview(say, told))
        return
    _confirm(len(chosen), yes)
    receipts = forgetting.forget(opened, chosen, views, actor=getpass.getuser(), why=why)
    emit(as_json, receipts, lambda say: _receipts(say, receipts))


@app.command()
def verify(
    workspace: Where = DEFAULT,
    sample: Annotated[int, typer.Option(min=0, help="Originals to read whole even if size and time fit.")] = 100,
    full: Annotated[bool, typer.Option("--full", help="Read every original whole.")] = False,
    as_json: AsJson = False,
) -> None:
    """Find originals that vanished or changed; point images to another source where one still has the bytes.

    Ends with code 1 when any original is lost.
    """
    from pipelines.verify import verify as verify_originals

    with progress() as show:
        done = verify_originals(open_workspace(workspace), show, sample=sample, full=full)

    def lines(say: Printer) -> None:
        if done.findings:
            table(
                None,
                ["image", "problem", "was at", "detail"],
                [[found.image_id[:12], found.problem, found.uri, found.detail] for found in done.findings],
            )
        told = ", ".join(
            f"{name} {done.counts.get(name, 0)}" for name in ("intact", "re-pointed", "vanished", "changed")
        )
        say(f"{done.counts.get('in', 0)} originals: {told} ({done.read} read whole)")

    emit(as_json, asdict(done), lines)
    if done.counts.get("vanished") or done.counts.get("changed"):
        raise typer.Exit(1)


def _confirm(images: int, yes: bool) -> None:
    """Ask on a terminal. Raises UsageError where nobody can be asked."""
    from flywheel.errors import UsageError

    if yes or not images:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"this forgets {images} images for good: add --yes, or look first with --dry-run")
    typer.confirm(f"Forget {images} images for good?", abort=True)


def _preview(say: Printer, told: Mapping[str, Any]) -> None:
    say(f"would forget {len(told['images'])} images")
    for name, count in told["rows"].items():
        say(f"  {count} rows of {name}, and all files of its history that hold them")
    say(f"  {len(told['packs'])} packs rewritten, {told['thumbnails']} thumbnails, {len(told['reports'])} report files")
    if told["snapshots_amended"]:
        say(f"  amended: snapshots {', '.join(told['snapshots_amended'])}")
    if told["originals"]:
        say("would stay with their owner:")
    for place in told["originals"]:
        say(f"  {place}")
    _elsewhere(say, told)
    if told["unfinished"]:
        say(f"unfinished, will be completed first: {', '.join(told['unfinished'])}")


def _receipts(say: Printer, receipts: Collection[Mapping[str, Any]]) -> None:
    for receipt in receipts:
        _receipt(say, receipt)


def _receipt(say: Printer, receipt: Mapping[str, Any]) -> None:
    removed, remains = receipt["removed"], receipt["remains"]
    say(f"forgot {len(receipt['images'])} images; receipt receipts/{receipt['receipt_id']}.json")
    say(f"  rows: {_counts(removed['rows'])}")
    say(f"  files of the history: {_counts(removed['files'])}")
    say(f"  {removed['packs']} packs rewritten, {removed['thumbnails']} thumbnails, {len(removed['reports'])} reports")
    if receipt["snapshots_amended"]:
        say(f"  amended: snapshots {', '.join(receipt['snapshots_amended'])}")
    if remains["originals_with_their_owner"]:
        say(f"  {remains['originals_with_their_owner']} originals remain with their owner")
    _elsewhere(say, remains)


def _elsewhere(say: Printer, told: Mapping[str, Any]) -> None:
    """What lies outside the workspace and still shows the images, or may."""
    for kind, name in (("exports", "export"), ("outside_reports", "report")):
        for place, count in told[kind].items():
            say(f"  still held by the {name} {place}: {count} images")
        for place in told[f"{kind}_unknown"]:
            say(f"  not known, cannot be read or is not complete: the {name} {place}")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
