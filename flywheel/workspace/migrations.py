"""Numbered migrations. Append only; a migration adds tables and nullable columns, never more.

`ensure` makes both idempotent, so a migration that was killed half-way is simply run again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flywheel.schemas import TABLES, TableSpec
from flywheel.workspace.tables import Tables


@dataclass(frozen=True, slots=True)
class Migration:
    """Brings a workspace from format `number - 1` to `number`."""

    number: int
    says: str
    tables: tuple[TableSpec, ...]


# Tables that came with a later format than the first.
_NEW_IN = {
    2: ("embeddings", "tags"),
    3: ("failures",),
    4: ("checkpoints", "suite_items", "pictures", "generations", "evaluations"),
    5: ("feedback", "modes", "mode_members", "mode_events", "experiments", "attributions"),
}
_LATER = frozenset(name for names in _NEW_IN.values() for name in names)

MIGRATIONS: Sequence[Migration] = (
    Migration(1, "the core tables", tuple(spec for name, spec in TABLES.items() if name not in _LATER)),
    Migration(2, "vectors, tags, kinds of captions", tuple(TABLES[name] for name in (*_NEW_IN[2], "alignment"))),
    Migration(3, "failures", tuple(TABLES[name] for name in _NEW_IN[3])),
    Migration(4, "checkpoints and what they drew", tuple(TABLES[name] for name in _NEW_IN[4])),
    Migration(
        5, "feedback, modes and why they fail", tuple(TABLES[name] for name in (*_NEW_IN[5], "failures", "generations"))
    ),
)

FORMAT = MIGRATIONS[-1].number


def pending(current: int, migrations: Sequence[Migration] = MIGRATIONS) -> list[Migration]:
    return [migration for migration in migrations if migration.number > current]


def describe(tables: Tables, migration: Migration) -> list[str]:
    """What the migration would change, a line a change."""
    return [
        f"m{migration.number:03d} {migration.says}: {name}.{field.name} {field.type}"
        for spec in migration.tables
        for name, field in tables.missing_columns(spec)
    ]


def apply(tables: Tables, migration: Migration) -> None:
    for spec in migration.tables:
        tables.ensure(spec)
