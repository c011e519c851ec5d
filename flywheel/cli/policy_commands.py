"""Commands about judging: filter, funnel, policy."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated, Any

import typer

from flywheel.cli.app import DEFAULT, AsJson, Printer, Where, app, emit, open_workspace, table

policy_app = typer.Typer(help="The thresholds of the six stages: look, compare, change.", no_args_is_help=True)
app.add_typer(policy_app, name="policy")

Name = Annotated[str, typer.Argument(help="A .toml file, a policy_id, or miniature, cpu, full.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@app.command("filter")
def filter_images(workspace: Where = DEFAULT, as_json: AsJson = False) -> None:
    """Judge every image at every stage under the active policy, and record the counts."""
    from flywheel.cli.funnel_print import funnel_document, print_funnel
    from pipelines.filtering import judge

    funnel = judge(open_workspace(workspace))
    emit(as_json, funnel_document(funnel), lambda say: print_funnel(funnel))


@app.command()
def funnel(
    workspace: Where = DEFAULT,
    policy: Annotated[str | None, typer.Option(help="Another policy: what would it do?")] = None,
    by: Annotated[str, typer.Option(help="stage, domain or bucket.")] = "stage",
    as_json: AsJson = False,
) -> None:
    """Kept, dropped by rule and unjudged at every stage; with --policy, what would change. Reads no pixel."""
    from flywheel.cli.funnel_print import funnel_document, print_changes, print_funnel
    from flywheel.errors import UsageError
    from pipelines.filtering import what_if
    from pipelines.policies import active_policy, load

    if by not in ("stage", "domain", "bucket"):
        raise UsageError(f"no funnel by {by!r}; there are stage, domain and bucket")
    opened = open_workspace(workspace)
    answer = what_if(opened, load(opened, policy)[0] if policy else active_policy(opened))
    document = funnel_document(answer.funnel)
    if policy:
        document |= {"changes": [asdict(change) for change in answer.changes], "images_that_flip": answer.flipped}
        document |= {"incomparable": answer.incomparable}

    def lines(say: Printer) -> None:
        print_funnel(answer.funnel, by)
        if policy and answer.incomparable:
            say(f"nothing to compare with: {answer.incomparable}")
        elif policy:
            print_changes(answer.changes)
            say(f"{answer.flipped} images change their verdict or its reason")

    emit(as_json, document, lines)


@policy_app.command("list")
def policy_list(workspace: Where = DEFAULT, as_json: AsJson = False) -> None:
    """Every activation, newest first; the first is the active policy."""
    from pipelines.policies import history

    rows = [{k: v for k, v in row.items() if k != "text"} for row in reversed(history(open_workspace(workspace)))]
    columns = ["policy_id", "name", "event", "actor", "at"]
    emit(as_json, rows, lambda say: table(None, columns, [[row[c] for c in columns] for row in rows]))


@policy_app.command("diff")
def policy_diff(
    first: Name,
    second: Annotated[str | None, typer.Argument(help="Default: the active policy is the first.")] = None,
    workspace: Where = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """What differs between two policies, or between the active one and another."""
    from filters.policy import diff
    from pipelines.policies import active_policy, load

    opened = open_workspace(workspace)
    new = load(opened, second or first)[0]
    old = load(opened, first)[0] if second else active_policy(opened)
    lines = diff(old, new)

    def told(say: Printer) -> None:
        for line in lines or ("they judge alike",):
            say(line)

    emit(as_json, list(lines), told)


@policy_app.command("impact")
def policy_impact(name: Name, workspace: Where = DEFAULT, as_json: AsJson = False) -> None:
    """What activating a policy would change, by stage and rule."""
    funnel(workspace=workspace, policy=name, by="stage", as_json=as_json)


@policy_app.command("activate")
def policy_activate(name: Name, workspace: Where = DEFAULT, yes: Yes = False, as_json: AsJson = False) -> None:
    """Judge by another policy from now on: shows what changes, asks, then appends the event."""
    from pipelines.policies import load

    opened = open_workspace(workspace)
    policy, text = load(opened, name)
    _change(opened, policy, text, "activated", yes, as_json)


@policy_app.command("rollback")
def policy_rollback(workspace: Where = DEFAULT, yes: Yes = False, as_json: AsJson = False) -> None:
    """Go back to the policy that was active before."""
    from filters.policy import parse
    from pipelines.policies import previous

    opened = open_workspace(workspace)
    text = previous(opened)
    _change(opened, parse(text, stored=True), text, "rolled back", yes, as_json)


@policy_app.command("calibrate")
def policy_calibrate(workspace: Where = DEFAULT, as_json: AsJson = False) -> None:
    """Propose thresholds for scorers that have a newer version, at the yield of the old ones; prints a policy file."""
    from pipelines.calibration import calibrate

    proposal = calibrate(open_workspace(workspace))
    emit(as_json, proposal.document, lambda say: say(proposal.text))


def _change(opened: Any, policy: Any, text: str, event: str, yes: bool, as_json: bool) -> None:
    from filters.policy import diff
    from flywheel.cli.funnel_print import print_changes, print_funnel
    from flywheel.errors import UsageError
    from pipelines.filtering import what_if
    from pipelines.policies import activate, active_policy

    differences = diff(active_policy(opened), policy)
    if not differences:
        raise UsageError(f"policy {policy.name} ({policy.policy_id}) judges just as the active one does")
    answer = what_if(opened, policy)  # also where nobody reads it: a policy that cannot judge is refused here
    if not as_json:
        for line in differences:
            typer.echo(line)
        if answer.incomparable:
            typer.echo(f"nothing to compare with: {answer.incomparable}")
            print_funnel(answer.funnel)
        else:
            print_changes(answer.changes)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("activation asks for a yes: answer on a terminal, or give --yes")
        typer.confirm(f"judge by {policy.name} ({policy.policy_id}) from now on?", abort=True)
    done = activate(opened, text, event=event, stored=event != "activated")
    document = {"policy_id": done.policy_id, "name": done.name, "event": event, "changes": list(differences)}
    emit(as_json, document, lambda say: say(f"{event} {done.name} ({done.policy_id})"))
