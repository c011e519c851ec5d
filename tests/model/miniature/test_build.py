"""What training rests on: the lean forward pass is transformers' own, patches are the processor's, truth is well-formed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from transformers import Qwen2Tokenizer, Qwen3VLForConditionalGeneration

from captioners import CAPTIONERS, Given
from captioners.verification import verify
from model.condition import ConditionEncoder
from model.miniature import emblem, grammar, wording
from model.miniature.build.checkpoint import SIDE_PX, TOKENS, new_model, new_processor, save
from model.miniature.build.contrast import ended_tokenizer, new_clip, normalized, save_clip
from model.miniature.build.courses import Student, edits_drawn, instructed
from model.miniature.build.facets import FACETS, MOST_SIGNS, UNTOLD, facets_of, targets_of
from model.miniature.build.forward import read, see
from model.miniature.build.lessons import IGNORED, Lesson, Writer, differing_claim
from model.miniature.build.mentions import known_by_token, lines_in_order
from model.miniature.build.patches import patchify
from model.miniature.build.prompts import CAPTION
from model.miniature.build.tokenizer import world_tokenizer
from model.miniature.build.towers import image_vectors, text_vectors
from model.miniature.captions import KINDS, captions, texts
from model.miniature.facts import realms
from model.miniature.mutation import differences
from model.miniature.phrasing import phrased
from model.miniature.scene import Line, Scene
from model.miniature.sorts import SORTS
from model.miniature.subject import Subject
from model.miniature.vocabulary import SHAPES

seeds = st.integers(0, 2**32)


@pytest.fixture(scope="module")
def tokenizer() -> Qwen2Tokenizer:
    return world_tokenizer()


@pytest.fixture(scope="module")
def model(tokenizer: Qwen2Tokenizer) -> Qwen3VLForConditionalGeneration:
    return new_model(tokenizer, hidden=64, layers=3, sees=3, seed=1).eval()


def pictures(number: int, side: int = SIDE_PX) -> tuple[list[Subject], np.ndarray]:
    rng = np.random.default_rng(8)
    subjects = [list(SORTS.values())[at % len(SORTS)].sample(rng) for at in range(number)]
    drawn = [list(SORTS.values())[at % len(SORTS)].picture(one, side, at) for at, one in enumerate(subjects)]
    return subjects, np.stack([np.asarray(picture) for picture in drawn])


def test_the_lean_forward_pass_is_that_of_transformers(
    tokenizer: Qwen2Tokenizer, model: Qwen3VLForConditionalGeneration
) -> None:
    from PIL import Image

    _, pixels = pictures(3)
    processor = new_processor(tokenizer)
    chats = [
        [
            {
                "role": "user",
                "content": [{"type": "image", "image": Image.fromarray(one)}, {"type": "text", "text": "What?"}],
            }
        ]
        for one in pixels
    ]
    inputs = processor.apply_chat_template(
        chats, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    patches = patchify(pixels)
    assert torch.allclose(patches.flatten(0, 1), inputs["pixel_values"], atol=1e-6)
    first = int((inputs["input_ids"][0] == model.config.image_token_id).nonzero()[0])
    with torch.no_grad():
        theirs = model.model(**inputs).last_hidden_state
        ours = model.model.language_model.norm(read(model, inputs["input_ids"], see(model, patches), first))
        assert torch.allclose(theirs, ours, atol=1e-4)
        words = inputs["input_ids"][:1, -6:]
        alone = model.model.language_model.norm(read(model, words))
        assert torch.allclose(model.model(input_ids=words).last_hidden_state, alone, atol=1e-4)


@pytest.mark.parametrize("pictured", [False, True])
def test_what_all_rows_begin_with_is_read_once_and_changes_nothing(
    tokenizer: Qwen2Tokenizer, model: Qwen3VLForConditionalGeneration, pictured: bool
) -> None:
    lessons = [Lesson("A star.", "A"), Lesson("A big red star in the center, on a gray background.", "B")]
    rows = Writer(tokenizer, "condition").rows(lessons, pictured=pictured)
    with torch.no_grad():
        seen = see(model, patchify(pictures(2)[1])) if pictured else None
        assert rows.alike > 10
        assert (rows.ids[0, : rows.alike] == rows.ids[1, : rows.alike]).all()
        once = read(model, rows.ids, seen, rows.first, rows.alike)
        assert torch.allclose(once, read(model, rows.ids, seen, rows.first), atol=1e-4)


def test_rows_are_what_the_processor_would_ask(tokenizer: Qwen2Tokenizer) -> None:
    from PIL import Image

    _, pixels = pictures(1)
    chat = [
        {
            "role": "user",
            "content": [{"type": "image", "image": Image.fromarray(pixels[0])}, {"type": "text", "text": "What?"}],
        }
    ]
    inputs = new_processor(tokenizer).apply_chat_template(
        [chat], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    rows = Writer(tokenizer).rows([Lesson("What?", "A star."), Lesson("What is it, then?", "A")], pictured=True)
    asked = inputs["input_ids"][0].tolist()
    assert rows.ids[0, : int(rows.ends[0])].tolist() == asked
    assert rows.first is not None
    assert asked[rows.first : rows.first + TOKENS] == [tokenizer.convert_tokens_to_ids("<|image_pad|>")] * TOKENS
    answered = rows.labels[0][rows.labels[0] != IGNORED]
    assert tokenizer.decode(answered) == "A star.<|im_end|>"


def test_a_condition_encoder_learns_from_what_it_will_be_asked(
    tokenizer: Qwen2Tokenizer, model: Qwen3VLForConditionalGeneration, tmp_path: Path
) -> None:
    """Prompts alone, and instructions behind a picture: the same tokens, and the same features of them."""
    from PIL import Image

    save(model, tokenizer, tmp_path / "encoder", tmp_path / "processor")
    encoder, student = (
        ConditionEncoder(tmp_path / "encoder", tmp_path / "processor"),
        Student(model, Writer(tokenizer, "condition")),
    )
    _, pixels = pictures(1)
    with torch.no_grad():
        hidden, ends = instructed(student, see(model, patchify(pixels)), ["Add a small red star in the center."])
        rows = student.writer.rows([Lesson("a small red star", "")], pictured=False)
        alone = read(model, rows.ids, alike=rows.alike)
    (told,) = encoder.encode(["Add a small red star in the center."], [[Image.fromarray(pixels[0])]])
    assert torch.allclose(
        hidden[0, int(ends[0]) - told.runs[-1] : int(ends[0])], told.features_SE[told.runs[0] :], atol=1e-4
    )
    (plain,) = encoder.encode(["a small red star"])
    end = int(rows.ends[0])
    assert torch.allclose(alone[0, end - len(plain.features_SE) : end], plain.features_SE, atol=1e-4)


def test_a_saved_model_is_loaded_by_the_ordinary_path(
    tokenizer: Qwen2Tokenizer, model: Qwen3VLForConditionalGeneration, tmp_path: Path
) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    save(model, tokenizer, tmp_path)
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path, dtype=torch.float32, local_files_only=True)
    assert isinstance(loaded, Qwen3VLForConditionalGeneration)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, loaded.state_dict()[name]), name
    assert AutoProcessor.from_pretrained(tmp_path, local_files_only=True).tokenizer.get_vocab() == tokenizer.get_vocab()


def test_clip_is_loaded_by_the_ordinary_path_and_its_lean_passes_are_open_clips(
    tokenizer: Qwen2Tokenizer, tmp_path: Path
) -> None:
    import open_clip
    from PIL import Image

    clip = new_clip(tokenizer, 3).eval()
    save_clip(clip, tokenizer, tmp_path / "clip-x")
    loaded, _, transform = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'clip-x'}")
    loaded.eval()
    words = open_clip.get_tokenizer(f"local-dir:{tmp_path / 'clip-x'}")
    said = ["A big red star.", "山水 and a small ring in the top left, on a gray background."]
    ids = ended_tokenizer(tokenizer)(said, padding=True, return_tensors="pt").input_ids
    _, pixels = pictures(2)
    shown = torch.stack([transform(Image.fromarray(one)) for one in pixels])
    with torch.no_grad():
        assert torch.allclose(clip.encode_image(normalized(pixels)), loaded.encode_image(shown), atol=2e-2)
        assert torch.allclose(text_vectors(loaded, ids), loaded.encode_text(words(said)), atol=1e-4)
        theirs = loaded.encode_image(shown)
        loaded.visual.output_tokens = True
        ours, tokens = image_vectors(loaded, shown)
        assert torch.allclose(ours, theirs, atol=1e-4)
        assert torch.allclose(tokens, loaded.visual(shown)[1], atol=1e-4)


@given(seeds)
def test_signs_are_single_tokens_and_texts_come_back(tokenizer: Qwen2Tokenizer, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = grammar.sample(rng, "word")
    text = scene.lines[0].text
    assert len(tokenizer(text).input_ids) <= sum(len(sign.encode()) for sign in text)
    if scene.lines[0].script == "latin" and " " not in text:
        assert tokenizer.convert_ids_to_tokens(tokenizer(text).input_ids) == list(text)
    for sort in SORTS.values():
        said = sort.wording(sort.sample(rng), rng)
        assert tokenizer.decode(tokenizer(said).input_ids) == said


@given(seeds, st.sampled_from(list(SORTS)))
def test_true_captions_are_what_captioners_ask_for(seed: int, sort: str) -> None:
    subject = SORTS[sort].sample(np.random.default_rng(seed))
    realm = next((one for one in realms() if one.emblem == subject), None)
    facts = realm.facts() if realm else {}
    told = captions(subject, facts)
    assert ("text" in told) == bool(list(texts(subject)))
    assert ("knowledge" in told) == (sort == "emblem")
    read_ = "\n".join(texts(subject)) or None
    general = json.loads(told["general"])["caption"]
    for kind, answer in told.items():
        Draft202012Validator(dict(CAPTIONERS[kind].schema)).validate(json.loads(answer))
        known = Given(domain=SORTS[sort].domain, read=read_, facts=facts, general=general)
        verified = verify(CAPTIONERS[kind], answer, complete=True, given=known)
        assert verified.accepted, (kind, answer, verified.why_not)


def test_models_are_trained_on_the_very_prompts_of_the_captioners() -> None:
    assert {name: kind.asks["brief"] for name, kind in CAPTIONERS.items()} == CAPTION
    assert set(KINDS) == set(CAPTIONERS)


@given(seeds, st.sampled_from(list(SORTS)))
def test_facets_tell_each_subject_from_others_of_its_sort(seed: int, sort: str) -> None:
    rng = np.random.default_rng(seed)
    one, other = SORTS[sort].sample(rng), SORTS[sort].sample(rng)
    names = facets_of(one)
    told = targets_of([one, other], names)
    for name in names:
        classes = told[name][told[name] != UNTOLD]
        assert classes.numel() == 0 or 0 <= int(classes.min()) <= int(classes.max()) < FACETS[name].classes
    same = all(torch.equal(told[name][0], told[name][1]) for name in names)
    assert same == (one == other)


def test_a_token_knows_what_was_said_before_it_and_no_more(tokenizer: Qwen2Tokenizer) -> None:
    rng = np.random.default_rng(5)
    for at in range(200):
        scene = grammar.sample(rng, ("pair and one", "word", "two words")[at % 3])
        text = (wording.wording, phrased)[at % 2](scene, rng)
        offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
        known = known_by_token(text, scene, offsets)
        for token, (_, ends) in enumerate(offsets):
            shape = int(known["shape"][token])
            if shape != UNTOLD:
                assert SHAPES[shape] in text[:ends].lower()
            if known["line"][token] != UNTOLD:
                assert int(known["line"][token]) == text[:ends].count('"') // 2
        cells = {int(cell) for cell in known["cell"] if cell != UNTOLD} | {
            int(cell) for cell in known["cell before"] if cell != UNTOLD
        }
        assert cells <= {thing.cell for thing in scene.things}


def test_an_instruction_knows_what_its_picture_shows(tokenizer: Qwen2Tokenizer) -> None:
    rng = np.random.default_rng(6)
    cells = signs = 0
    for pair in edits_drawn(rng, 200):
        assert isinstance(pair.before, grammar.Scene)
        assert isinstance(pair.after, grammar.Scene)
        text = pair.instruction
        offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
        known = known_by_token(text, pair.after, offsets, pair.before)
        told = {int(cell) for cell in known["cell"] if cell != UNTOLD}
        assert told <= {thing.cell for thing in pair.before.things}
        cells += len(told)
        spelled = sum(int(sign) != UNTOLD for sign in known["sign"])
        assert spelled in {0, *(min(len(line.text), MOST_SIGNS) for line in pair.after.lines)}
        signs += spelled
    assert cells > 60
    assert signs > 60


def test_two_lines_alike_are_told_apart() -> None:
    line = Line(row="top", text="AB", script="latin", colour="red")
    scene = Scene(background="white", lines=(line, replace(line, row="bottom")))
    found = lines_in_order('"AB" at the top, "AB" at the bottom', scene)
    assert [(begins, line.row) for begins, line in found] == [(1, "top"), (18, "bottom")]


@given(seeds)
def test_a_judge_is_told_how_much_is_wrong(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = grammar.sample(rng)
    claimed, wrong = differing_claim(scene, int(rng.integers(5)), rng)
    assert isinstance(claimed, grammar.Scene)
    assert wrong == min(4, differences(scene, claimed))
    emblem_ = emblem.sample(rng)
    claimed, wrong = differing_claim(emblem_, 1, rng)
    assert wrong == (0 if claimed == emblem_ else 4)
