"""Commands of the trainer: recipes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from flywheel.cli.app import AsJson, app, emit, table

recipes = typer.Typer(help="What training runs are made of.", no_args_is_help=True)
app.add_typer(recipes, name="recipe")

Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting: optimizer.lr=3e-4, steps=500.")
]


@recipes.command("list")
def list_recipes(as_json: AsJson = False) -> None:
    """The recipes that come with the program."""
    from model.train.recipe import RECIPES

    rows = [[name, recipe.digest, recipe.says] for name, recipe in RECIPES.items()]
    document = {name: {"digest": recipe.digest, "says": recipe.says} for name, recipe in RECIPES.items()}
    emit(as_json, document, lambda say: table(None, ["recipe", "digest", "what it is"], rows))


@recipes.command("show")
def show_recipe(
    name: Annotated[str, typer.Argument(help="One of `flywheel recipe list`.")],
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Every setting of a recipe, with changes applied."""
    from model.train.recipe import recipe_named, with_settings

    recipe = with_settings(recipe_named(name), settings or [])
    document = {**asdict(recipe), "digest": recipe.digest}
    rows = [[key, _told(value)] for key, value in _flat(document)]
    emit(as_json, document, lambda say: table(None, ["setting", "value"], rows))


def _flat(document: dict[str, object], before: str = "") -> list[tuple[str, object]]:
    """Nested settings by their dotted names, as --set takes them."""
    found: list[tuple[str, object]] = []
    for key, value in document.items():
        found += _flat(value, f"{before}{key}.") if isinstance(value, dict) else [(before + key, value)]
    return found


def _told(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
