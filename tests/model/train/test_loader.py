"""Batches follow from the number and the step, edits have their share, dropped prompts are null, and a thread is ahead."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace

import pytest
import torch
from small_model import RECIPE, model, write_pictures

from model.data.examples import offered
from model.data.prepare import Preparation, Prepared
from model.train.ahead import Ahead, by_steps
from model.train.loader import Loader
from model.train.material import Material


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> tuple[Preparation, Prepared, tuple[torch.Tensor, torch.Tensor]]:
    root, made = tmp_path_factory.mktemp("loader"), model()
    write_pictures(root / "data", 14, edits=6)
    preparation = Preparation(made.condition, made.vae, root / "cache")
    examples = offered(root / "data").examples
    return preparation, preparation.prepared(examples, (64,), 400, lambda done, total: None), made.statistics()


def loader(ready: tuple[Preparation, Prepared, tuple[torch.Tensor, torch.Tensor]], **changed: object) -> Loader:
    preparation, prepared, statistics = ready
    recipe = replace(RECIPE, **changed)  # type: ignore[arg-type]
    return Loader(prepared, preparation.latents, preparation.prompts, recipe, statistics)


def same(one: Material, other: Material) -> bool:
    tensors = ("target_BNC", "references_BRC", "context_BSE")
    return one.keys == other.keys and all(torch.equal(getattr(one, name), getattr(other, name)) for name in tensors)


def test_a_batch_follows_from_its_number_and_step(ready: tuple) -> None:  # type: ignore[type-arg]
    one, other = loader(ready), loader(ready)
    for number in (5, 0, 11, 5):
        assert same(one(number, 3), other(number, 3))
    assert not same(one(0, 3), one(1, 3))


def test_edits_have_their_share_and_layouts_fit(ready: tuple) -> None:  # type: ignore[type-arg]
    made, kinds = loader(ready), Counter[str]()
    for number in range(40):
        material = made(number, 0)
        is_edit = material.references_BRC.shape[1] > 0
        kinds["edit" if is_edit else "plain"] += 1
        assert material.layout.target.tokens == material.target_BNC.shape[1] == 16
        assert len(material.layout.image_places) == material.references_BRC.shape[1] + 16
        assert len(material.layout.text_places) == material.context_BSE.shape[1]
        assert len(material.keys) * material.layout.tokens <= RECIPE.tokens
        assert all(key.startswith("after") == is_edit for key in material.keys)
    assert kinds == {"plain": 30, "edit": 10}


def test_latents_are_normalised_and_come_from_their_store(ready: tuple) -> None:  # type: ignore[type-arg]
    preparation, prepared, (mean, deviation) = ready
    material = loader(ready, edits=0.0)(0, 0)
    names = {one.key: one.latents[-1] for one in prepared.text_to_image}
    for key, latents in zip(material.keys, material.target_BNC, strict=True):
        stored = preparation.latents[names[key]].float().flatten(1).T
        torch.testing.assert_close(latents * deviation + mean, stored, atol=1e-5, rtol=1e-5)


def test_dropped_prompts_are_the_null_prompt_and_others_at_another_step(ready: tuple) -> None:  # type: ignore[type-arg]
    preparation, prepared, _ = ready
    null = preparation.prompts[prepared.text_to_image[0].null].float()
    made = loader(ready, dropout=0.5, edits=0.0)

    def nulls(step: int) -> list[bool]:
        material = made(0, step)
        valid = material.valid_BS
        assert valid is not None
        return [
            int(own.sum()) == len(null) and torch.equal(context[: len(null)], null)
            for own, context in zip(valid, material.context_BSE, strict=True)
        ]

    dropped = [nulls(step) for step in range(12)]
    share = sum(map(sum, dropped)) / sum(map(len, dropped))
    assert 0.3 < share < 0.7
    assert len(set(map(tuple, dropped))) > 1
    whole = loader(ready, dropout=0.0, edits=0.0)(0, 0)
    lengths = whole.valid_BS.sum(1) if whole.valid_BS is not None else torch.tensor([whole.context_BSE.shape[1]])
    assert (lengths > len(null)).all()


def test_one_kind_alone_takes_all(ready: tuple) -> None:  # type: ignore[type-arg]
    preparation, prepared, statistics = ready
    only = Prepared(edits=prepared.edits)
    made = Loader(only, preparation.latents, preparation.prompts, RECIPE, statistics)
    assert all(made(number, 0).references_BRC.shape[1] for number in range(6))


def test_a_thread_makes_the_next_batches_and_its_errors_arrive(ready: tuple) -> None:  # type: ignore[type-arg]
    made, threads, asked = loader(ready), set[int](), list[tuple[int, int]]()

    def watched(number: int, step: int) -> Material:
        threads.add(threading.get_ident())
        asked.append((number, step))
        if number == 9:
            raise ValueError("nine")
        return made(number, step)

    ahead = Ahead(watched, by_steps(accumulate=2, workers=1), depth=2)
    for number in range(9):
        assert same(ahead(number, number // 2), made(number, number // 2))
    with pytest.raises(ValueError, match="nine"):
        ahead(9, 4)
    ahead.close()
    assert threading.get_ident() not in threads
    assert asked[:10] == [(number, number // 2) for number in range(10)]


def test_workers_take_turns() -> None:
    following = by_steps(accumulate=4, workers=2)
    first, second = [(0, 0)], [(1, 0)]
    for turns in (first, second):
        for _ in range(3):
            turns.append(following(*turns[-1]))
    assert first == [(0, 0), (2, 0), (4, 1), (6, 1)]
    assert second == [(1, 0), (3, 0), (5, 1), (7, 1)]
