"""Why a mode fails, found out by experiments: which to make next, or what their results amount to. Sans-IO.

    judge            does another judge find the same pictures bad?
    reconstruction   do real pictures of it survive the autoencoder alone?
    coverage         how often was it shown in training, beside concepts that do well, and is there more in the pool?
    captions         do captions of its training pictures say what a captioner sees that did not write them?
    reseed           does it come right under other seeds, of the same prompts?
    rewrite          does it come right when the prompt says more, under the same seeds?

Every question is asked of at least 12 prompts or pictures, twice as many once more where the first did not decide; then a person is.
Causes further up explain those further down: what was never shown also looks unreliable, so the first that holds is the cause.
A richer prompt that works shows that the model can, whatever its training data look like: phrasing stands above them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from flywheel.evidence.share import Share
from flywheel.seeds import stable_hash

SEEDS = 16


class Kind(StrEnum):
    """An experiment; in the order in which they are made."""

    JUDGE = "judge"
    RECONSTRUCTION = "reconstruction"
    COVERAGE = "coverage"
    CAPTIONS = "captions"
    RESEED = "reseed"
    REWRITE = "rewrite"


class Cause(StrEnum):
    SCARCE = "scarce"
    ABSENT = "absent_everywhere"
    LABEL_NOISE = "label_noise"
    VAE = "vae"
    PHRASING = "phrasing"
    UNRELIABLE = "unreliable"
    JUDGE = "judge"
    COMPOUND = "compound"
    UNKNOWN = "unknown"


class Track(StrEnum):
    PRETRAINING = "pretraining"
    PROMPT = "prompt"
    REINFORCEMENT = "reinforcement"
    HUMAN = "human"


TRACK_OF: Mapping[Cause, Track] = {
    Cause.SCARCE: Track.PRETRAINING,
    Cause.LABEL_NOISE: Track.PRETRAINING,
    Cause.VAE: Track.PRETRAINING,
    Cause.PHRASING: Track.PROMPT,
    Cause.UNRELIABLE: Track.REINFORCEMENT,
    Cause.ABSENT: Track.HUMAN,
    Cause.JUDGE: Track.HUMAN,
    Cause.COMPOUND: Track.HUMAN,
    Cause.UNKNOWN: Track.HUMAN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What an experiment brought. `shares` by name; None where the question cannot be asked here (unknown, never zero).

    judge            "bad": of failing pictures, so many are bad to the other judge too
    reconstruction   "survives": of real pictures of it
    coverage         "shown": how often beside the median of healthy concepts, at most 1; "pool": the same in the pool
    captions         "agrees": of its training pictures' captions; "healthy": of others'
    reseed           "once": of pictures right; "ever": of prompts, any seed right
    rewrite          "plain", "rewritten": of pictures right; "gained": of prompts, better rewritten than plain
    """

    kind: Kind
    shares: Mapping[str, Share] | None
    cost: float = 0.0
    round: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Calibrated on worlds made for it; frozen by `thresholds_id`."""

    bad: float = 0.5
    survives: float = 0.7
    shown: float = 0.25
    pool: float = 0.25
    noise: float = 0.15
    ever: float = 0.7
    rewritten: float = 0.6
    gained: float = 0.5
    prompts: int = 12
    rounds: int = 2

    @property
    def thresholds_id(self) -> str:
        return stable_hash(asdict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """To be made next: of so many prompts or pictures."""

    kind: Kind
    prompts: int
    seeds: int = SEEDS
    round: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """`because`: each finding that bears on it, in words. `is_sure`: every question that it rests on was decided."""

    cause: Cause
    because: tuple[str, ...]
    is_sure: bool = True

    @property
    def track(self) -> Track:
        return TRACK_OF[self.cause]


Answer = bool | None  # None: not decided
Question = Callable[[Mapping[str, Share], Thresholds], Answer]


def next_step(findings: Sequence[Finding], budget: float, thresholds: Thresholds) -> Experiment | Route:
    """The next experiment, or the route. `budget`: what findings may cost together; beyond it a person decides."""
    last = {one.kind: one for one in sorted(findings, key=lambda one: one.round)}
    early = _early(last, thresholds)
    if early is not None:
        return early
    for kind in Kind:
        wanted = _wanted(kind, last.get(kind), thresholds)
        if wanted is not None:
            if sum(one.cost for one in findings) >= budget:
                return Route(
                    cause=Cause.UNKNOWN, because=(f"the budget of {budget:g} is spent before {kind}",), is_sure=False
                )
            return wanted
    return _route(last, thresholds)


def _wanted(kind: Kind, last: Finding | None, thresholds: Thresholds) -> Experiment | None:
    if last is None:
        return Experiment(kind=kind, prompts=thresholds.prompts)
    if last.shares is None or last.round >= thresholds.rounds or _answer(kind, last, thresholds) is not None:
        return None
    return Experiment(kind=kind, prompts=thresholds.prompts << last.round, round=last.round + 1)


def _early(last: Mapping[Kind, Finding], thresholds: Thresholds) -> Route | None:
    """What makes all further experiments pointless: nothing is wrong, or nothing that a generator could mend."""
    for kind, cause in ((Kind.JUDGE, Cause.JUDGE), (Kind.RECONSTRUCTION, Cause.VAE)):
        if kind in last and _answer(kind, last[kind], thresholds):
            return Route(cause=cause, because=(_told(last[kind]),))
    return None


def _route(last: Mapping[Kind, Finding], thresholds: Thresholds) -> Route:
    holds = {kind: _answer(kind, one, thresholds) for kind, one in last.items()}
    told = {kind: _told(one) for kind, one in last.items()}
    if holds[Kind.REWRITE]:
        return Route(cause=Cause.PHRASING, because=(told[Kind.REWRITE],))
    if holds[Kind.COVERAGE] and holds[Kind.CAPTIONS]:
        return Route(cause=Cause.COMPOUND, because=(told[Kind.COVERAGE], told[Kind.CAPTIONS]))
    if holds[Kind.COVERAGE]:
        return Route(cause=_scarce(last[Kind.COVERAGE], thresholds), because=(told[Kind.COVERAGE], told[Kind.REWRITE]))
    if holds[Kind.CAPTIONS]:
        return Route(cause=Cause.LABEL_NOISE, because=(told[Kind.CAPTIONS], told[Kind.COVERAGE]))
    if holds[Kind.RESEED]:
        sure = holds[Kind.COVERAGE] is False and holds[Kind.CAPTIONS] is False
        because = (told[Kind.RESEED], told[Kind.COVERAGE], told[Kind.CAPTIONS])
        return Route(cause=Cause.UNRELIABLE, because=because, is_sure=sure)
    return Route(cause=Cause.UNKNOWN, because=tuple(told.values()), is_sure=False)


def _scarce(coverage: Finding, thresholds: Thresholds) -> Cause:
    pool = (coverage.shares or {}).get("pool")
    return Cause.ABSENT if pool is not None and pool.mean < thresholds.pool else Cause.SCARCE


def _answer(kind: Kind, finding: Finding, thresholds: Thresholds) -> Answer:
    """Whether a finding speaks for its cause. Not decided where it could not be asked."""
    return None if finding.shares is None else _QUESTIONS[kind](finding.shares, thresholds)


def _told(finding: Finding) -> str:
    if finding.shares is None:
        return f"{finding.kind}: not known"
    figures = (
        f"{name} {share.mean:.2f} ({share.low:.2f}–{share.high:.2f} of {share.of})"
        for name, share in sorted(finding.shares.items())
    )
    return f"{finding.kind}: {', '.join(figures)}"


def _both(*answers: Answer) -> Answer:
    """All hold; none does where one is excluded."""
    if any(answer is False for answer in answers):
        return False
    return True if all(answers) else None


def _below(share: Share, bar: float) -> Answer:
    above = share.is_above(bar)
    return None if above is None else not above


def _is_noisy(shares: Mapping[str, Share], thresholds: Thresholds) -> Answer:
    """Captions of it agree less than others' do, by more than the margin."""
    agrees, healthy = shares["agrees"], shares["healthy"]
    return _below(agrees, healthy.mean - thresholds.noise)


_QUESTIONS: Mapping[Kind, Question] = {
    Kind.JUDGE: lambda shares, at: _below(shares["bad"], at.bad),
    Kind.RECONSTRUCTION: lambda shares, at: _below(shares["survives"], at.survives),
    Kind.COVERAGE: lambda shares, at: _below(shares["shown"], at.shown),
    Kind.CAPTIONS: _is_noisy,
    Kind.RESEED: lambda shares, at: shares["ever"].is_above(at.ever),
    Kind.REWRITE: lambda shares, at: _both(
        shares["rewritten"].is_above(at.rewritten), shares["gained"].is_above(at.gained)
    ),
}
