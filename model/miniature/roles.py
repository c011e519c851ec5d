"""Who may look at which prompt: training, triage, the gate, or the report (design section 9)."""

from __future__ import annotations

from collections.abc import Mapping

from flywheel.seeds import stable_hash

# Shares of all (scene, wording) pairs. Our choice: what is trained on is most of it.
SHARES: Mapping[str, int] = {"train": 85, "triage": 5, "gate": 5, "report": 5}


def role_of(subject_id: str, wording: str) -> str:
    """The one role of a prompt, from its scene and its words alone: nothing can cross over."""
    place = int(stable_hash([subject_id, wording]), 16) % sum(SHARES.values())
    for role, share in SHARES.items():
        if place < share:
            return role
        place -= share
    raise AssertionError("shares cover every place")
