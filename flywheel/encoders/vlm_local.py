"""A Qwen3-VL in this process: transformers for the network, llguidance for the grammar.

A row's answer does not depend on its batch: rows of one length are computed together without padding, and chance comes from
the row's own seed (Gumbel noise on the logits, so that sampling is a greedy search).
"""

from __future__ import annotations

import io
import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from PIL import Image

from flywheel.encoders.extra import imported
from flywheel.encoders.vlm import Ask, Refused, Told, Waiting
from flywheel.errors import FlywheelError

_AT_ONCE = 64  # rows computed together; our choice
_MAX_PROMPT = 4096  # tokens


@dataclass(frozen=True, slots=True)
class _Row:
    """A question as the network takes it."""

    at: int
    ask: Ask
    inputs: Mapping[str, Any]

    @property
    def length(self) -> int:
        return int(self.inputs["input_ids"].shape[1])

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows of one shape can be computed together without padding."""
        grid = self.inputs.get("image_grid_thw")
        return (self.length, *(grid[0].tolist() if grid is not None else ()))


class LocalVlm:
    """Loads its weights when made: use `local_vlm`. Threads take turns."""

    def __init__(self, folder: Path) -> None:
        torch, transformers = imported("torch"), imported("transformers")
        if not (folder / "model.safetensors").exists() and not list(folder.glob("model-*.safetensors")):
            raise FlywheelError(f"{folder} holds no model.safetensors: it is no Qwen3-VL that can be loaded safely")
        transformers.utils.logging.set_verbosity_error()  # what goes wrong is raised; the rest is no news for a user
        transformers.utils.logging.disable_progress_bar()
        self.name = folder.name
        self._torch: Any = torch
        self._turn = Lock()
        self._processor: Any = transformers.AutoProcessor.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        self._model: Any = transformers.Qwen3VLForConditionalGeneration.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
        ).eval()
        # The network's vocabulary is rounded up; the grammar must know of every column.
        columns = int(self._model.config.text_config.vocab_size)
        self._grammar_tokens = imported("llguidance.hf").from_tokenizer(self._processor.tokenizer, n_vocab=columns)

    def answers(self, asks: Sequence[Ask], on_wait: Waiting) -> list[Told | Refused]:
        told: dict[int, Told | Refused] = {}
        groups: defaultdict[tuple[int, ...], list[_Row]] = defaultdict(list)
        with self._turn:
            for at, ask in enumerate(asks):
                row = self._prepared(at, ask)
                if isinstance(row, Refused):
                    told[at] = row
                else:
                    groups[row.shape].append(row)
            for rows in groups.values():
                for start in range(0, len(rows), _AT_ONCE):
                    told.update(self._together(rows[start : start + _AT_ONCE]))
        return [told[at] for at in range(len(asks))]

    def _prepared(self, at: int, ask: Ask) -> _Row | Refused:
        content: list[dict[str, Any]] = [{"type": "text", "text": ask.prompt}]
        if ask.image is not None:
            try:
                picture = Image.open(io.BytesIO(ask.image), formats=("PNG", "JPEG")).convert("RGB")
            except Exception as error:  # whatever a decoder raises
                return Refused(f"the picture cannot be decoded: {error}")
            content.insert(0, {"type": "image", "image": picture})
        inputs = self._processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        row = _Row(at, ask, inputs)
        return row if row.length <= _MAX_PROMPT else Refused(f"{row.length} tokens are more than {_MAX_PROMPT}")

    def _together(self, rows: Sequence[_Row]) -> dict[int, Told | Refused]:
        torch, began = self._torch, time.monotonic()
        inputs = {name: torch.cat([row.inputs[name] for row in rows]) for name in rows[0].inputs}
        most = max(row.ask.max_tokens for row in rows)
        guides = [_Guide(self._grammar_tokens, row.ask, row.length, self._ends(), torch) for row in rows]
        with torch.inference_mode():
            written = self._model.generate(
                **inputs, max_new_tokens=most, do_sample=False, logits_processor=[_Guided(guides)]
            )
        seconds, ends = (time.monotonic() - began) / len(rows), set(self._ends())
        told: dict[int, Told | Refused] = {}
        for row, ids in zip(rows, written[:, rows[0].length :].tolist(), strict=True):
            stop = next((place for place, token in enumerate(ids) if token in ends), len(ids))
            complete = stop < min(len(ids), row.ask.max_tokens)
            kept = ids[: min(stop, row.ask.max_tokens)]
            told[row.at] = Told(
                text=self._processor.tokenizer.decode(kept, skip_special_tokens=True),
                finish="stop" if complete else "length",
                prompt_tokens=row.length,
                completion_tokens=len(kept) + complete,
                seconds=seconds,
            )
        return told

    def _ends(self) -> list[int]:
        ends = self._model.generation_config.eos_token_id
        return ends if isinstance(ends, list) else [ends]


class _Guide:
    """The grammar and the chance of one row."""

    def __init__(self, tokens: Any, ask: Ask, begins: int, ends: Sequence[int], torch: Any) -> None:
        from llguidance import LLMatcher

        self._matcher = None
        if ask.schema is not None:
            self._matcher = LLMatcher(tokens, _grammar(json.dumps(ask.schema)))
        self._torch, self._begins, self._ends, self._temperature = torch, begins, list(ends), ask.temperature
        self._chance = torch.Generator().manual_seed(ask.seed)

    def bend(self, ids: Any, logits: Any) -> Any:
        """The logits of the next token: what the grammar forbids is impossible, chance is added."""
        if self._matcher is not None:
            if len(ids) > self._begins and not self._matcher.is_stopped():
                self._matcher.consume_token(int(ids[-1]))
            logits = logits.masked_fill(~self._allowed(len(logits)), float("-inf"))
        if self._temperature > 0:
            drawn = self._torch.rand(logits.shape, generator=self._chance).clamp_min(1e-20)
            logits = logits / self._temperature - (-drawn.log()).log()
        return logits

    def _allowed(self, columns: int) -> Any:
        """What the grammar lets come next; the end alone, where the answer is whole."""
        torch, matcher = self._torch, self._matcher
        if matcher is not None and not matcher.is_stopped():
            return torch.frombuffer(bytearray(matcher.compute_logit_bias()), dtype=torch.uint8)[:columns] > 0
        allowed = torch.zeros(columns, dtype=torch.bool)
        allowed[self._ends] = True
        return allowed


class _Guided:
    """A logits processor of transformers: every row by its own guide."""

    def __init__(self, guides: Sequence[_Guide]) -> None:
        self._guides = guides

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        rows = [guide.bend(ids, logits) for guide, ids, logits in zip(self._guides, input_ids, scores, strict=True)]
        return self._guides[0]._torch.stack(rows)


@cache
def _grammar(schema: str) -> str:
    from llguidance import LLMatcher

    # White space in JSON is where greedy decoding loops; compact JSON is also what small models are trained on.
    grammar: str = LLMatcher.grammar_from_json_schema(schema, overrides={"whitespace_flexible": False})
    return grammar


def local_vlm(folder: Path) -> LocalVlm:
    """The model of this process, loaded at the first call. Raises FlywheelError for a folder that holds none."""
    with _LOADING:
        return _loaded(folder)


_LOADING = Lock()  # transformers builds a model by changing globals: two at once leave both broken


@cache
def _loaded(folder: Path) -> LocalVlm:
    return LocalVlm(folder)
