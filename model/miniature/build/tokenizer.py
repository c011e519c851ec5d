"""The miniature's tokenizer: byte-level BPE in the Qwen dialect, learned from what the world says of itself.

Signs that must be read from a picture stay single: the corpus holds every sign by itself and no random word, so that no
merge spells one. Names of the fact base come in their syllables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import Qwen2Tokenizer
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from model.miniature.build.prompts import every_prompt
from model.miniature.captions import captions, compact, texts
from model.miniature.facts import BEGINNINGS, ENDINGS
from model.miniature.grammar import alphabet
from model.miniature.sorts import SORTS
from model.miniature.subject import Subject
from model.miniature.vocabulary import SCRIPTS

VOCABULARY = 1024  # our choice: a third of it stays for bytes and signs, the rest are the world's words
_SAMPLES = 1500  # of each sort; words stop changing well before
SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
# The chat of Qwen-VL, as its processor fills it in; content is a string or a list of parts, as OpenAI's clients send it.
TEMPLATE = (
    "{%- for message in messages %}<|im_start|>{{ message.role }}{{ '\\n' }}"
    "{%- if message.content is string %}{{ message.content }}"
    "{%- else %}{%- for part in message.content %}"
    "{%- if part.type == 'image' or 'image' in part or 'image_url' in part %}<|vision_start|><|image_pad|><|vision_end|>"
    "{%- elif part.type == 'video' or 'video' in part %}<|vision_start|><|video_pad|><|vision_end|>"
    "{%- elif 'text' in part %}{{ part.text }}{%- endif %}{%- endfor %}{%- endif %}<|im_end|>{{ '\\n' }}"
    "{%- endfor %}{%- if add_generation_prompt %}<|im_start|>assistant{{ '\\n' }}{%- endif %}"
)


def world_tokenizer(seed: int = 1) -> Qwen2Tokenizer:
    """Learn it; the same seed gives the same tokenizer."""
    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizers.NFC()
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    learner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    learner.train_from_iterator(_corpus(seed), trainer)
    vocabulary = learner.get_vocab()
    return Qwen2Tokenizer(
        vocab=vocabulary,
        merges=_merges(learner),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token=None,
        additional_special_tokens=list(SPECIAL),
        model_max_length=4096,
        chat_template=TEMPLATE,
    )


def _merges(learner: Tokenizer) -> list[tuple[str, str]]:
    import json

    merges = json.loads(learner.to_str())["model"]["merges"]
    return [(pair[0], pair[1]) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in merges]


def _corpus(seed: int) -> Iterator[str]:
    rng = np.random.default_rng(seed)
    for prompt in every_prompt():
        yield from [prompt] * 200
    yield from ["user\n", "assistant\n", "system\n"] * 200
    for script in SCRIPTS:
        for sign in alphabet(script):
            yield from [sign] * 200
    for part in (*BEGINNINGS, *(ending for ending in ENDINGS)):
        yield from [part, f" {part}"] * 40
    for sort in SORTS.values():
        for _ in range(_SAMPLES):
            subject = sort.sample(rng)
            yield _spelled(sort.wording(subject, rng), subject)
            for caption in (captions(subject) | {"general": compact({"caption": sort.plain(subject)})}).values():
                yield _spelled(caption, subject)


def _spelled(text: str, subject: Subject) -> str:
    """The text without what is written in the picture: its signs are in the corpus one by one."""
    written: Sequence[str] = sorted(texts(subject), key=len, reverse=True)
    for piece in written:
        text = text.replace(piece, "")
    return text
