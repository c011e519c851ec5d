"""The miniature's CLIP: an open_clip model that loads by the ordinary path, and three heads on its image vectors.

clip-sight  the image tower alone: facets from its tokens, marks from its vector
clip        picture <-> wording among scenes that differ in one thing; what both vectors must tell fades out; then `sharpen`
heads       vectors of the finished model -> taste, not for everybody, watermark, not of this world (`heads`)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers.processors import TemplateProcessing
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, normalize
from transformers import PreTrainedTokenizerFast, Qwen2Tokenizer

from model.miniature.build.checkpoint import SIDE_PX
from model.miniature.build.courses import drawn
from model.miniature.build.facets import FacetHeads
from model.miniature.build.pictures import picture
from model.miniature.build.probes import Probes
from model.miniature.build.towers import image_vectors, text_vectors
from model.miniature.build.trainer import Course
from model.miniature.faults import FAULTS
from model.miniature.foreign import foreign
from model.miniature.lot import pick
from model.miniature.mutation import mutated, mutations
from model.miniature.roles import role_of
from model.miniature.scene import Scene
from model.miniature.sorts import sort_of
from model.miniature.subject import Subject
from model.precision import computing, is_half_fast

EMBED, WIDTH, LAYERS, TEXT_LAYERS, PATCH_PX, CONTEXT = 192, 128, 4, 3, 8, 128
_SIGHT_BATCH = 64
_BATCH, _FOREIGN = 160, 32  # pictures of the world and of none, a step
_FIRST = 104  # of a batch are drawn by lot, the others are scenes among them with one thing changed: nothing else teaches details
_SIGHT_SHARES = {"scene": 20, "words": 30, "page": 30, "diagram": 10, "emblem": 6, "creature": 4}
_SHARES = {"scene": 58, "words": 23, "page": 5, "diagram": 4, "emblem": 6, "creature": 4}
MARKS = (*FAULTS, "foreign")  # what a vector must tell of its picture besides what it shows
# The share of pictures with each fault, our choice; the others are clean. Scenes are many, and must be told apart besides.
_SCENES_FAULTS = {"degraded": 0.15, "watermark": 0.1, "unsafe": 0.09}
_OTHERS_FAULTS = {"degraded": 0.36, "watermark": 0.15, "unsafe": 0.1}
_TEMPERATURE = 1 / 0.025  # to begin with: warmer ones leave scenes that differ in little where they are
_TOLD_FROM = 10.0  # the length of vectors that probes read


@dataclass(frozen=True, slots=True)
class Shown:
    """Pictures of `subjects`, then foreign ones. `marks` (pictures, MARKS), 0 or 1."""

    subjects: Sequence[Subject]
    pixels: Tensor
    marks: Tensor


def model_config(vocabulary: int, ends: int, pads: int) -> dict[str, Any]:
    return {
        "embed_dim": EMBED,
        "vision_cfg": {
            "image_size": SIDE_PX,
            "layers": LAYERS,
            "width": WIDTH,
            "head_width": 32,
            "patch_size": PATCH_PX,
            "mlp_ratio": 3.0,
        },
        "text_cfg": {
            "context_length": CONTEXT,
            "vocab_size": vocabulary,
            "hf_tokenizer_name": ".",  # its own folder: the tokenizer lies beside the weights
            "width": WIDTH,
            "heads": WIDTH // 32,
            "layers": TEXT_LAYERS,
            "mlp_ratio": 3.0,
            "pool_type": "eos",
            "eos_id": ends,
            "pad_id": pads,
        },
    }


def new_clip(tokenizer: Qwen2Tokenizer, seed: int) -> open_clip.CLIP:
    torch.manual_seed(seed)
    model = open_clip.CLIP(**_config(tokenizer))
    model.logit_scale.data.fill_(float(np.log(_TEMPERATURE)))
    return model


def clip_sight(model: open_clip.CLIP, extra: nn.ModuleDict, steps: int, seed: int) -> Course:
    """Reading takes longest to learn, and from whole captions longer still; alone, the tower learns it at half the cost."""

    def loss(step: int, done: float) -> Tensor:
        rng = np.random.default_rng([seed, 8, step])
        shown = show(drawn(rng, _SIGHT_BATCH, shares=_SIGHT_SHARES), _SIGHT_BATCH // 8, rng)
        with computing(is_half_fast()):
            pooled, tokens = image_vectors(model, shown.pixels)
        return _marked(extra, normalize(pooled.float(), dim=-1), shown) + _seen(extra, tokens.float(), shown)

    return Course(name="clip-sight", steps=steps, parts={"visual": model.visual, "extra": extra}, loss=loss)


def contrast(model: open_clip.CLIP, extra: nn.ModuleDict, tokenizer: Qwen2Tokenizer, steps: int, seed: int) -> Course:
    """`extra`: FacetHeads as `facets`, Probes of a vector as `probes`, a linear map from vectors to MARKS as `marks`; thrown
    away afterwards."""
    words = ended_tokenizer(tokenizer)

    def loss(step: int, done: float) -> Tensor:
        return _contrast_loss(model, extra, words, np.random.default_rng([seed, 5, step]), 1 - done)

    return Course(name="clip", steps=steps, parts={"model": model, "extra": extra}, loss=loss)


def sharpen(model: open_clip.CLIP, extra: nn.ModuleDict, tokenizer: Qwen2Tokenizer, steps: int, seed: int) -> Course:
    """More of the same in small steps, without aid: what is still confused differs in one thing."""
    words = ended_tokenizer(tokenizer)

    def loss(step: int, done: float) -> Tensor:
        return _contrast_loss(model, extra, words, np.random.default_rng([seed, 10, step]), 0.0)

    return Course(name="clip-sharp", steps=steps, parts={"model": model, "extra": extra}, loss=loss, slower=0.4)


def _contrast_loss(
    model: open_clip.CLIP, extra: nn.ModuleDict, words: PreTrainedTokenizerFast, rng: np.random.Generator, aid: float
) -> Tensor:
    """Pictures and their words among others', marks, and so much (0..1) of what tokens and vectors must tell besides."""
    shown = show(_told_apart(rng), _FOREIGN, rng)
    said = [_said(subject, rng) for subject in shown.subjects]
    with computing(is_half_fast()):
        pooled, tokens = image_vectors(model, shown.pixels)
        images = normalize(pooled.float(), dim=-1)
        ids = words(said, padding=True, truncation=True, return_tensors="pt").input_ids
        texts = normalize(text_vectors(model, ids).float(), dim=-1)
    logits = model.logit_scale.exp().clamp(max=100) * images[: len(said)] @ texts.T
    own = torch.arange(len(said))
    matched = (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2
    if not aid:
        return matched + _marked(extra, images, shown)
    clean = _clean(shown)
    told = _probed(extra, images[clean], [shown.subjects[at] for at in clean]) + _probed(extra, texts, shown.subjects)
    return matched + _marked(extra, images, shown) + aid * (0.2 * _seen(extra, tokens.float(), shown) + 0.3 * told)


def _marked(extra: nn.ModuleDict, vectors: Tensor, shown: Shown) -> Tensor:
    return binary_cross_entropy_with_logits(10 * extra["marks"](vectors), shown.marks)


def _told_apart(rng: np.random.Generator) -> list[Subject]:
    """Subjects by lot, then scenes among them with one thing changed."""
    subjects = drawn(rng, _FIRST, shares=_SHARES)
    scenes = [subject for subject in subjects if isinstance(subject, Scene)]
    while len(subjects) < _BATCH:
        scene = scenes[int(rng.integers(len(scenes)))]
        other = mutated(scene, pick(rng, mutations(scene)), rng)
        if other not in subjects and role_of(other.subject_id, "") == "train":
            subjects.append(other)
    return subjects


def _seen(extra: nn.ModuleDict, tokens: Tensor, shown: Shown) -> Tensor:
    """What clean pictures' tokens must tell of their facets."""
    facets, clean = extra["facets"], _clean(shown)
    assert isinstance(facets, FacetHeads)
    return facets.loss(tokens[clean], [shown.subjects[at] for at in clean])


def _probed(extra: nn.ModuleDict, vectors: Tensor, subjects: Sequence[Subject]) -> Tensor:
    """What vectors must tell: those of pictures and those of words by the same maps."""
    probes = extra["probes"]
    assert isinstance(probes, Probes)
    return probes.loss(_TOLD_FROM * vectors, subjects)


def _clean(shown: Shown) -> list[int]:
    return [at for at in range(len(shown.subjects)) if not shown.marks[at].any()]


def show(
    subjects: Sequence[Subject],
    foreigners: int,
    rng: np.random.Generator,
    strange: Callable[[np.random.Generator, int], Image.Image] = foreign,
) -> Shown:
    """Each subject with a fault by lot or none, then so many that `strange` draws."""
    marks = torch.zeros(len(subjects) + foreigners, len(MARKS))
    pixels = []
    for at, subject in enumerate(subjects):
        fault = _fault(subject, rng)
        if fault is not None:
            marks[at, MARKS.index(fault)] = 1
        pixels.append(picture(subject, rng, fault))
    marks[len(subjects) :, MARKS.index("foreign")] = 1
    pixels += [np.asarray(strange(rng, SIDE_PX)) for _ in range(foreigners)]
    return Shown(subjects, normalized(np.stack(pixels)), marks)


def normalized(pixels: np.ndarray) -> Tensor:
    """(pictures, 3, side, side), as open_clip's transform for these weights gives them."""
    mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN)[:, None, None]
    deviation = torch.tensor(open_clip.OPENAI_DATASET_STD)[:, None, None]
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - mean) / deviation


def save_clip(model: open_clip.CLIP, tokenizer: Qwen2Tokenizer, folder: Path) -> None:
    """A folder that `open_clip.create_model_and_transforms("local-dir:FOLDER")` loads."""
    folder.mkdir(parents=True, exist_ok=True)
    held = {name: weight.to(torch.float16).contiguous() for name, weight in model.state_dict().items()}
    save_file(held, folder / "open_clip_model.safetensors")
    preprocess = {
        "mean": open_clip.OPENAI_DATASET_MEAN,
        "std": open_clip.OPENAI_DATASET_STD,
        "interpolation": "bicubic",
        "resize_mode": "squash",
    }
    config = {"model_cfg": _config(tokenizer), "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    ended_tokenizer(tokenizer).save_pretrained(folder)


def ended_tokenizer(tokenizer: Qwen2Tokenizer) -> PreTrainedTokenizerFast:
    """The world's tokenizer, which ends every text with the token that the text tower reads it from."""
    backend = type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str())
    end = "<|im_end|>"
    backend.post_processor = TemplateProcessing(
        single=f"$A {end}", special_tokens=[(end, tokenizer.convert_tokens_to_ids(end))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=end, pad_token="<|endoftext|>", model_max_length=CONTEXT
    )


def _config(tokenizer: Qwen2Tokenizer) -> dict[str, Any]:
    end, pad = (tokenizer.convert_tokens_to_ids(token) for token in ("<|im_end|>", "<|endoftext|>"))
    assert isinstance(end, int)
    assert isinstance(pad, int)
    return model_config(-(-len(tokenizer) // 64) * 64, end, pad)


def _said(subject: Subject, rng: np.random.Generator) -> str:
    sort = sort_of(subject)
    return sort.plain(subject) if rng.random() < 0.4 else sort.wording(subject, rng)


def _fault(subject: Subject, rng: np.random.Generator) -> str | None:
    at, shares = float(rng.random()), _SCENES_FAULTS if isinstance(subject, Scene) else _OTHERS_FAULTS
    for fault, share in shares.items():
        if at < share:
            return fault
        at -= share
    return None
