"""A policy: the thresholds of every rule at every stage, as a TOML file that people edit.

    name = "mine"
    profile = "cpu"
    trains_at = [[256], [256], [512], [512, 1024], [512, 1024, 2048], [512, 1024, 2048]]
    caption_kinds = ["raw", "general"]           # of these captions the first that an image has is held to it
    disabled = ["watermark"]                     # rules that do not apply; they may keep their thresholds

    [calibrated_for]                             # the scorer versions behind the thresholds
    sharpness = "sharpness-1"

    [rules.sharpness]                            # one value a stage, from the rule's first stage to the sixth
    min = [0.3, 0.35, 0.4]
    [rules.sharpness.by_domain.poster]           # where a domain differs
    min = [0.2, 0.2, 0.2]

No threshold may loosen from a stage to the next, so what a stage keeps, the stage before kept too.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.resources import files

from pydantic import ValidationError

from filters.policy_model import Bounds, Policy, needed_scorers
from filters.rules import DOMAINS, RULES, Rule
from flywheel.errors import PolicyError

__all__ = [
    "PROFILES",
    "Policy",
    "bundled",
    "bundled_text",
    "check_versions",
    "diff",
    "needed_scorers",
    "parse",
    "to_toml",
]

PROFILES = ("full", "cpu", "miniature")


def parse(text: str, *, stored: bool = False) -> Policy:
    """Read a policy. Raises PolicyError with one line that says what to mend.

    Every known rule must be given or listed under `disabled`. A `stored` policy may be older than a rule:
    it says nothing about it and goes on judging as it did.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"the policy is not TOML: {error}") from error
    label = f"policy {content.get('name', 'without a name')}"
    try:
        policy = Policy.model_validate(content)
    except ValidationError as error:
        raise PolicyError(f"{label}: {_first_line(error)}") from error
    silent = [name for name in RULES if name not in policy.rules and name not in policy.disabled]
    if silent and not stored:
        raise PolicyError(f"{label}: nothing is said about {', '.join(silent)}: give thresholds or list under disabled")
    return policy


def bundled_text(profile: str) -> str:
    """The policy file that comes with a profile. Raises PolicyError for an unknown profile."""
    if profile not in PROFILES:
        raise PolicyError(f"no bundled policy for profile {profile!r}; there are {', '.join(PROFILES)}")
    return files("filters").joinpath("policies", f"{profile}.toml").read_text(encoding="utf-8")


def bundled(profile: str) -> Policy:
    """The policy that comes with a profile. Raises PolicyError for an unknown profile."""
    return parse(bundled_text(profile))


def check_versions(policy: Policy, available: Mapping[str, str]) -> None:
    """Refuse to judge numbers by thresholds made for other numbers.

    `available`: scorer -> the version of the scores at hand. A scorer that is not there, or that a model measures
    (no version), is no error: its rows are unjudged, visibly. Raises PolicyError naming every scorer that differs.
    """
    wrong = [
        f"{scorer} {policy.calibrated_for[scorer]} (scores: {available[scorer]})"
        for scorer in needed_scorers(policy)
        if available.get(scorer) not in (None, "", policy.calibrated_for[scorer])
    ]
    if wrong:
        raise PolicyError(
            f"policy {policy.name} is calibrated for {', '.join(wrong)}: "
            "`flywheel policy calibrate` proposes thresholds"
        )


def diff(old: Policy, new: Policy) -> tuple[str, ...]:
    """What changes from one policy to the other, a line each; empty when both judge alike."""
    return (
        *_changed("name", old.name, new.name),
        *_changed("profile", old.profile, new.profile),
        *_changed("captions judged", ", ".join(old.caption_kinds), ", ".join(new.caption_kinds)),
        *(
            f"stage {stage} trains at {_sizes(after)} px instead of {_sizes(before)}"
            for stage, (before, after) in enumerate(zip(old.trains_at, new.trains_at, strict=True), 1)
            if before != after
        ),
        *_diff_versions(old, new),
        *(line for rule in RULES.values() for line in _diff_rule(rule, old, new)),
    )


def _changed(what: str, before: str, after: str) -> list[str]:
    return [f"{what}: {before} becomes {after}"] if before != after else []


def _sizes(sizes: tuple[int, ...]) -> str:
    return ", ".join(map(str, sizes))


def _diff_versions(old: Policy, new: Policy) -> list[str]:
    scorers = [scorer for scorer in needed_scorers(new) if scorer in needed_scorers(old)]
    before, after = old.calibrated_for, new.calibrated_for
    return [line for scorer in scorers for line in _changed(f"{scorer} scores", before[scorer], after[scorer])]


def _diff_rule(rule: Rule, old: Policy, new: Policy) -> list[str]:
    applied = [rule in policy.active(rule.subject) for policy in (old, new)]
    if applied != [True, True]:
        words = {(True, False): "no longer applies", (False, True): "applies from now on"}
        return [f"{rule.name} {words[applied[0], applied[1]]}"] if any(applied) else []
    lines = []
    for domain in (None, *DOMAINS):
        for bound in rule.bounds:
            before, after = old.values(rule, bound, domain), new.values(rule, bound, domain)
            inherited = domain and (before, after) == (old.values(rule, bound), new.values(rule, bound))
            if before is None or after is None or before == after or inherited:
                continue
            where = f"{rule.name}, {domain}" if domain else rule.name
            for stage, was, becomes in zip(rule.stages, before, after, strict=True):
                if was != becomes:
                    stricter = (becomes > was) == (bound == "min")
                    word = "stricter" if stricter else "looser"
                    lines.append(f"{where}, stage {stage}: {bound} {was:g} becomes {becomes:g} ({word})")
    return lines


def to_toml(policy: Policy) -> str:
    """The policy as a file; `parse` reads it back to the same policy_id."""
    lines = [f"name = {_quoted(policy.name)}", f"profile = {_quoted(policy.profile)}"]
    lines += [f"trains_at = {[list(sizes) for sizes in policy.trains_at]}"]
    lines += [f"caption_kinds = [{', '.join(_quoted(kind) for kind in policy.caption_kinds)}]"]
    lines += [f"disabled = [{', '.join(_quoted(name) for name in policy.disabled)}]", "", "[calibrated_for]"]
    lines += [f"{scorer} = {_quoted(version)}" for scorer, version in policy.calibrated_for.items()]
    for name, thresholds in policy.rules.items():
        lines += ["", f"[rules.{name}]", *_bounds_toml(thresholds)]
        for domain, bounds in thresholds.by_domain.items():
            lines += [f"[rules.{name}.by_domain.{domain}]", *_bounds_toml(bounds)]
    return "\n".join(lines) + "\n"


def _bounds_toml(bounds: Bounds) -> list[str]:
    given = (("min", bounds.min), ("max", bounds.max))
    return [f"{bound} = [{', '.join(f'{v!r}' for v in values)}]" for bound, values in given if values is not None]


def _quoted(text: str) -> str:
    escaped = "".join(f"\\u{ord(c):04x}" if ord(c) < 32 or c in '"\\\x7f' else c for c in text)
    return f'"{escaped}"'


def _first_line(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    said = str(first["msg"]).removeprefix("Value error, ")
    return f"{where}: {said}" if where else said
