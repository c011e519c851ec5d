"""Recipes on the command line."""

from __future__ import annotations

from calling import call


def test_recipes_are_listed_and_shown_with_changes() -> None:
    listed = call("recipe", "list", "--json").json
    assert listed.keys() >= {"pretrain", "continual", "sft", "miniature"}
    plain = call("recipe", "show", "miniature", "--json").json
    assert plain["digest"] == listed["miniature"]["digest"]
    changed = call("recipe", "show", "miniature", "--set", "steps=7", "--set", "optimizer.lr=1e-5", "--json").json
    assert (changed["steps"], changed["optimizer"]["lr"]) == (7, 1e-5)
    assert changed["digest"] != plain["digest"]
    assert "optimizer.lr" in call("recipe", "show", "sft").out


def test_what_is_no_recipe_or_setting_is_a_usage_error() -> None:
    call("recipe", "show", "x").refused(2, "no recipe 'x'")
    call("recipe", "show", "sft", "--set", "steps=many").refused(2, "takes int, not 'many'")
