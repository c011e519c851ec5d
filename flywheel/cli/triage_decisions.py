"""What people decide of modes and cases."""

from __future__ import annotations

import getpass
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

import typer

from flywheel.cli.app import DEFAULT, AsJson, Printer, Where, emit, open_workspace, table
from flywheel.cli.triage_commands import triage_app
from flywheel.clock import now
from flywheel.errors import UsageError

ModeId = Annotated[str, typer.Argument(metavar="MODE", help="The id of a mode, or how it begins.")]
CaseId = Annotated[str, typer.Argument(metavar="FAILURE", help="The id of a failure, or how it begins.")]
Why = Annotated[str, typer.Option("--why", help="The reason, kept beside the decision.")]


@triage_app.command()
def note(mode: ModeId, text: str, workspace: Where = DEFAULT, as_json: AsJson = False) -> None:
    """Write a line beside a mode."""
    _decided(workspace, mode, "noted", {"text": text}, as_json)


@triage_app.command()
def dismiss(mode: ModeId, why: Why = "", workspace: Where = DEFAULT, as_json: AsJson = False) -> None:
    """A mode that nobody needs healed: no longer shown, unless asked for with --state dismissed."""
    _decided(workspace, mode, "dismissed", {"why": why}, as_json)


@triage_app.command()
def reopen(mode: ModeId, why: Why = "", workspace: Where = DEFAULT, as_json: AsJson = False) -> None:
    """Take a dismissal back."""
    _decided(workspace, mode, "open", {"why": why}, as_json)


@triage_app.command()
def snooze(
    mode: ModeId,
    days: Annotated[int, typer.Option(min=1, help="For so many days.")] = 7,
    workspace: Where = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Not shown for a while."""
    until = datetime.now(UTC).date() + timedelta(days=days)
    _decided(workspace, mode, "snoozed", {"until": date.isoformat(until)}, as_json)


@triage_app.command()
def route(
    mode: ModeId,
    track: Annotated[str, typer.Option(help="pretraining, prompt, reinforcement or human.")],
    why: Why = "",
    workspace: Where = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Say which track heals a mode, whatever experiments say."""
    from flywheel.triage.attribution import Track

    if track not in set(Track):
        raise UsageError(f"no track {track!r}; there are {', '.join(Track)}")
    _decided(workspace, mode, "routed", {"track": track, "why": why}, as_json)


@triage_app.command("not-a-failure")
def not_a_failure(case: CaseId, why: Why = "", workspace: Where = DEFAULT, as_json: AsJson = False) -> None:
    """Say that a picture is good after all. It is no failure any more, and whoever judged it bad is held to that."""
    from flywheel.signals.feedback import REVIEW
    from pipelines.collecting import collect, said_of
    from pipelines.modes_shown import case_named

    opened = open_workspace(workspace)
    failure = case_named(opened, case)["failure_id"]
    first = said_of(opened, failure)[0]
    review = replace(
        first, source=REVIEW, score=1.0, rank=None, facets={}, comment=why, actor=getpass.getuser(), at=now()
    )
    done = collect(opened, [review])
    emit(
        as_json,
        {"failure_id": failure, "failures": done.failures},
        lambda say: say(f"{failure[:12]} is no failure; {done.failures} are left"),
    )


@triage_app.command()
def explain(case: CaseId, workspace: Where = DEFAULT, as_json: AsJson = False) -> None:
    """One failure: what was asked, who said what, which modes it belongs to, what is missing to draw it again."""
    from pipelines.collecting import said_of
    from pipelines.modes_shown import case_named

    opened = open_workspace(workspace)
    found = case_named(opened, case)
    said = [
        {
            "actor": one.actor,
            "source": one.source,
            "score": one.score,
            "rank": one.rank,
            "comment": one.comment,
            "at": one.at,
        }
        | {"facets": {str(facet): score for facet, score in one.facets.items()}}
        for one in said_of(opened, found["failure_id"])
    ]

    def lines(say: Printer) -> None:
        say(found["prompt"])
        wrong = ", ".join(found["facets"]) or "in whole"
        say(f"  of {found['checkpoint'] or 'an unknown model'}; wrong: {wrong}, severity {found['severity']:.2f}")
        if found["missing"]:
            say(f"  cannot be drawn again: no {', '.join(found['missing'])}")
        table(
            None,
            ["who", "says", "comment"],
            [[one["actor"] or one["source"], _says(one), one["comment"]] for one in said],
        )
        for mode in found["modes"]:
            say(f"  belongs to {mode['mode_id'][:8]}  {mode['name']}  ({mode['state']})")

    emit(as_json, {**found, "said": said}, lines)


def _decided(workspace: str, mode: str, event: str, detail: dict[str, Any], as_json: bool) -> None:
    from pipelines.mode_events import Event, happened
    from pipelines.modes_shown import mode_named

    opened = open_workspace(workspace)
    one = mode_named(opened, mode)
    happened(opened, [Event(mode_id=one.mode_id, event=event, detail=detail)], actor=getpass.getuser())
    emit(as_json, {"mode_id": one.mode_id, "event": event, **detail}, lambda say: say(f"{one.name}: {event}"))


def _says(said: dict[str, Any]) -> str:
    if said["rank"] is not None:
        return f"before {said['rank']:.0%} of the others"
    scores = ({} if said["score"] is None else {"whole": said["score"]}) | said["facets"]
    return ", ".join(f"{name} {score:.2g}" for name, score in scores.items())
