"""Does it come right when the prompt says more, under the same seeds? Who rewrites sees the prompt alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from flywheel.suites.item import Item
from flywheel.triage.attribution import Experiment, Finding, Kind
from model.miniature.rewriting import richer
from model.miniature.suite import NAME as MINIATURE
from pipelines.collecting import prompt_id
from pipelines.experiments.trial import Trial, right_by_prompt, share_of

_ROLE = "rewritten"  # not triage: what fails in our words is no user's failure
REWRITERS: Mapping[str, Callable[[str], str | None]] = {MINIATURE: richer}


def rewrite(trial: Trial, wanted: Experiment) -> Finding:
    """Prompts that say all there is to say already are drawn again as they are: nothing is gained by them."""
    items = trial.prompts(wanted)
    told = [_rewritten(item) for item in items]
    richer_items = [one for one in told if one is not None]
    if len(richer_items) < len(items):
        return Finding(kind=Kind.REWRITE, shares=None, round=wanted.round)
    plain = right_by_prompt(trial.drawn(items, wanted.seeds), trial.mode.facet)
    new = right_by_prompt(trial.drawn(richer_items, wanted.seeds), trial.mode.facet)
    keys = [(prompt_id(a.prompt), prompt_id(b.prompt)) for a, b in zip(items, richer_items, strict=True)]
    pairs = [(plain[a], new[b]) for a, b in keys if a in plain and b in new]
    before, after = [sum(a) / len(a) for a, _ in pairs], [sum(b) / len(b) for _, b in pairs]
    shares = {
        "plain": share_of(before),
        "rewritten": share_of(after),
        "gained": share_of([float(b > a) for a, b in zip(before, after, strict=True)]),
    }
    return Finding(kind=Kind.REWRITE, shares=shares, cost=float(len(items) * wanted.seeds), round=wanted.round)


def _rewritten(item: Item) -> Item | None:
    rewriter = REWRITERS.get(item.suite)
    said = rewriter(item.prompt) if rewriter else None
    if said is None:
        return None
    return replace(item, prompt=said, key=f"{item.key} rewritten", labels={**item.labels, "role": _ROLE})
