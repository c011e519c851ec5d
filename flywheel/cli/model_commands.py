"""Commands about weights and servers: doctor."""

from __future__ import annotations

from dataclasses import asdict

from flywheel.cli.app import DEFAULT, AsJson, Printer, Where, app, emit, open_workspace


@app.command()
def doctor(workspace: Where = DEFAULT, as_json: AsJson = False) -> None:
    """Say what the profile needs, what is here, what abstains for want of it, and the line that mends it."""
    from flywheel.encoders.vlm_serving import serve_lines
    from pipelines.doctor import examine

    found = examine(open_workspace(workspace))
    document = {"findings": [asdict(finding) for finding in found], "serve": list(serve_lines())}

    def lines(say: Printer) -> None:
        for finding in found:
            say(f"{'ok  ' if finding.ok else 'MISS'} {finding.what:10} {finding.says}")
            if finding.abstains:
                say(f"     {'':10} abstains: {finding.abstains}")
            if finding.mends:
                say(f"     {'':10} mend it:  {finding.mends}")
        say("")
        say("a captioner for real photographs, on one GPU and on eight:")
        for line in serve_lines():
            say(f"  {line}")

    emit(as_json, document, lines)
