"""`flywheel triage`: modes, the costliest first; one with its cases."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flywheel.cli.app import DEFAULT, AsJson, Printer, Where, app, emit, open_workspace, table
from flywheel.clock import now

if TYPE_CHECKING:
    from flywheel.workspace import Workspace
    from pipelines.modes_shown import ModeShown

triage_app = typer.Typer(help="Which failures there are, of what kind, and what is done about them.")
app.add_typer(triage_app, name="triage", invoke_without_command=True)

_CASES_SHOWN, _PICTURES_SHOWN = 10, 12
_PROMPT_CHARS = 100


@triage_app.callback(invoke_without_command=True)
def triage(
    context: typer.Context,
    state: Annotated[list[str] | None, typer.Option("--state", help="Default: all that are not over.")] = None,
    part: Annotated[str, typer.Option("--slice", help="Modes of a facet, or that name this part of prompts.")] = "",
    track: Annotated[str, typer.Option(help="Modes that this track is to heal.")] = "",
    since: Annotated[str, typer.Option(help="Changed since then, as 2026-11-28 or 2026-11-28T09:00.")] = "",
    new: Annotated[bool, typer.Option("--new", help="Only what changed since you last looked.")] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write them with their pictures as a page.")] = None,
    workspace: Where = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Modes of failure, the costliest first; it opens with what changed since you last looked. Only reads."""
    from pipelines.modes_shown import modes_shown

    if context.invoked_subcommand is not None:
        return
    opened = open_workspace(workspace)
    looked = _looked(str(opened.path) if opened.is_local else workspace)
    shown = modes_shown(opened, states=state or (), part=part, track=track, since=max(since, looked if new else ""))
    changed = [one for one in shown if one.changed_at > looked]
    document = {
        "looked_before": looked or None,
        "changed": [one.mode_id for one in changed],
        "modes": [asdict(one) | {"share": one.share} for one in shown],
        "page": _page(opened, shown, html) if html else None,
    }

    def lines(say: Printer) -> None:
        _print(say, shown, changed, looked)
        if html:
            say(f"with their pictures: {document['page']}")

    emit(as_json, document, lines)


@triage_app.command()
def show(
    mode: Annotated[str, typer.Argument(help="The id of a mode, or how it begins.")],
    workspace: Where = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """One mode: how it stands, what became of it, its failures."""
    from pipelines.modes_shown import cases, history, mode_named

    opened = open_workspace(workspace)
    one = mode_named(opened, mode)
    failures, events = cases(opened, one.mode_id), history(opened, one.mode_id)
    document = {**asdict(one), "share": one.share, "failures": failures, "events": events}

    def lines(say: Printer) -> None:
        say(f"{one.name}  ({one.mode_id}, {one.state})")
        say(f"  {_evidence(one)}; {one.pictures} pictures, {one.replayable} of which can be drawn again")
        say(f"  said by {', '.join(one.said_by) or 'nobody any more'}; found {one.found_at}, changed {one.changed_at}")
        rows = [
            [_short(case["prompt"]), case["severity"], _wrong(case), case["image"] or case["generation_id"]]
            for case in failures
        ]
        table(None, ["prompt", "severity", "wrong", "picture"], rows[:_CASES_SHOWN])
        if len(failures) > _CASES_SHOWN:
            say(f"and {len(failures) - _CASES_SHOWN} more: --json has them all")

    emit(as_json, document, lines)


def _page(workspace: Workspace, shown: list[ModeShown], to: Path) -> str:
    from dashboards.report import page_target, write_page
    from dashboards.triage_sheet import Case, Section, triage_sheet
    from flywheel.workspace import runs
    from pipelines.modes_shown import cases

    sections = [
        Section(
            title=one.name,
            says=f"{one.state}, {one.failing} of {one.prompts} prompts",
            evidence=[_evidence(one), *filter(None, (_way(one), one.note and f"note: {one.note}"))],
            cases=[
                Case(
                    failure_id=case["failure_id"],
                    generation_id=case["generation_id"] or "",
                    prompt=case["prompt"],
                    wrong=_wrong(case),
                    said_to_be_at=case["image"] or "",
                )
                for case in cases(workspace, one.mode_id)[:_PICTURES_SHOWN]
            ],
        )
        for one in shown
    ]
    target = page_target(workspace, str(to), "triage.html")
    run = runs.start(workspace, "report", detail={"to": target})
    with run.recorded({}):
        written = write_page(target, triage_sheet(workspace, sections))
    run.end("finished", {"images": written.images})
    return written.report


def _print(say: Printer, shown: list[ModeShown], changed: list[ModeShown], looked: str) -> None:
    if not shown:
        say("no mode of failure; `flywheel feedback import FILE` or `flywheel evaluate` brings some")
        return
    if looked:
        say(f"since you last looked ({looked}): {len(changed)} of {len(shown)} modes changed")
    fresh = {one.mode_id for one in changed} if looked else set()
    rows = [
        [
            one.mode_id[:8],
            one.name + ("  *" if one.mode_id in fresh else ""),
            one.state,
            f"{one.failing}/{one.prompts}",
            f"{one.severity:.2f}",
            _trend(one),
            _evidence(one),
            _way(one) or "–",
        ]
        for one in shown
    ]
    table(
        None, ["mode", "what fails, where", "state", "prompts", "severity", "trend", "evidence", "cause → track"], rows
    )
    say("next: flywheel triage show MODE")


def _trend(one: ModeShown) -> str:
    if one.before is None or one.before == one.share:
        return "–"
    return f"{'up' if one.share > one.before else 'down'} from {one.before:.0%}"


def _evidence(one: ModeShown) -> str:
    if not one.parts:
        return f"{one.share:.0%} fail, wherever"
    return f"{one.share:.0%} fail, elsewhere {one.elsewhere:.0%}, p {one.p:.1g}"


def _way(one: ModeShown) -> str:
    return " → ".join(filter(None, (one.cause, one.track)))


def _wrong(case: dict[str, Any]) -> str:
    return ", ".join(case["facets"]) or case["comment"] or "in whole"


def _short(prompt: str) -> str:
    return prompt if len(prompt) <= _PROMPT_CHARS else prompt[: _PROMPT_CHARS - 1] + "…"


def _looked(workspace: str) -> str:
    """When this person last looked; from now on, now. Theirs, not the workspace's: kept in their own folder."""
    file = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "flywheel" / "looked.json"
    known: dict[str, str] = {}
    try:
        known = json.loads(file.read_text())
        before = str(known.get(workspace, ""))
    except (OSError, ValueError, AttributeError):
        before = ""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({**known, workspace: now()}, indent=1))
    except OSError:
        pass  # a home that cannot be written: everything is new each time
    return before
