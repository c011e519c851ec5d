"""The condition encoder: a frozen Qwen3-VL reads the prompt, and the references with it.

Its features are what its last layer says before the final norm, as the release was trained on; transformers 5 hands out the
normalised ones, so they are taken at the norm's door. The system message's tokens are dropped. Where a reference stood, its
latents will stand: features there are dropped too. Nothing is truncated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image as Pictures
from torch import Tensor, nn

from flywheel.errors import FlywheelError
from flywheel.seeds import stable_hash
from model.layout import Image, Layout, edit
from model.pretrained import digest_of

_SYSTEM = "<|im_start|>system\nComprehend and analyze the provided prompt.<|im_end|>\n"
_TURN = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
_SLOT = "<|vision_start|><|image_pad|><|vision_end|>"
MAX_REFERENCES = 10
TEMPLATE_DIGEST = stable_hash([_SYSTEM, _TURN, _SLOT])  # features are kept under it
NULL_PROMPT = " "  # what the release's pipeline makes of an empty prompt


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """Features of the text alone (S, E), and how many of its tokens stand before, between and after the references."""

    features_SE: Tensor
    runs: tuple[int, ...]

    def layout(self, references: Sequence[Image], target: Image) -> Layout:
        return edit(self.runs, references, target)


class ConditionEncoder:
    """A folder of `Qwen3VLForConditionalGeneration` with its processor. Raises FlywheelError for what is none."""

    def __init__(
        self,
        folder: Path,
        processor: Path | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """On the CPU. `processor` where it lies in a folder of its own."""
        import transformers
        from transformers import AutoProcessor, Qwen3VLForConditionalGeneration

        transformers.utils.logging.disable_progress_bar()
        try:
            self._processor: Any = AutoProcessor.from_pretrained(processor or folder, local_files_only=True)
            model = Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype=dtype, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise FlywheelError(f"{folder} holds no Qwen3-VL: {' '.join(str(error).split())[:160]}") from error
        self._model: Any = model.eval().requires_grad_(False)
        self.channels: int = model.config.text_config.hidden_size
        self._slot_id: int = model.config.image_token_id
        self._dropped = len(self._processor.tokenizer(_SYSTEM).input_ids)

    @property
    def module(self) -> nn.Module:
        """To be placed where it is to work."""
        module: nn.Module = self._model
        return module

    @torch.no_grad()
    def encode(
        self, prompts: Sequence[str], references: Sequence[Sequence[Pictures.Image]] | None = None
    ) -> list[Condition]:
        """Each prompt, with its own references before it. Pictures with alpha are seen over white.

        Raises ValueError for more references than the release takes, or for another number of lists than of prompts.
        """
        references = [()] * len(prompts) if references is None else references
        if max(map(len, references), default=0) > MAX_REFERENCES:
            raise ValueError(f"at most {MAX_REFERENCES} references, not {max(map(len, references))}")
        asked = [
            _SYSTEM + _TURN.format(_pictured(len(own)) + (prompt or NULL_PROMPT))
            for prompt, own in zip(prompts, references, strict=True)
        ]
        seen = [_over_white(one) for own in references for one in own]
        given: dict[str, Any] = {"images": seen} if seen else {}
        inputs = self._processor(text=asked, padding=True, padding_side="left", return_tensors="pt", **given)
        inputs = inputs.to(next(self._model.parameters()).device)
        features = self._before_the_norm(inputs)
        return [
            self._told(features[at][mask.bool()], inputs["input_ids"][at][mask.bool()])
            for at, mask in enumerate(inputs["attention_mask"])
        ]

    def digest(self) -> str:
        return digest_of(self._model)

    def save_pretrained(self, folder: Path, processor: Path, *, dtype: torch.dtype | None = None) -> None:
        """`dtype`: what weights are stored in; None: as they are."""
        state = self._model.state_dict()
        self._model.save_pretrained(
            folder, state_dict={name: one.to(dtype or one.dtype) for name, one in state.items()}
        )
        self._processor.save_pretrained(processor)

    def _before_the_norm(self, inputs: Any) -> Tensor:
        seen: list[Tensor] = []
        text = self._model.model.language_model
        hook = text.norm.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
        try:
            self._model.model(**inputs, use_cache=False)
        finally:
            hook.remove()
        return seen[-1]

    def _told(self, features: Tensor, ids: Tensor) -> Condition:
        features, ids = features[self._dropped :], ids[self._dropped :]
        slots = ids == self._slot_id
        return Condition(features[~slots], _runs(slots.tolist()))


def _runs(slots: Sequence[bool]) -> tuple[int, ...]:
    """Lengths of text around each run of slots: one more than there are references, which text always parts."""
    runs, inside = [0], False
    for slot in slots:
        if slot and not inside:
            runs.append(0)
        elif not slot:
            runs[-1] += 1
        inside = slot
    return tuple(runs)


def _pictured(references: int) -> str:
    return " ".join(f"<image{at + 1}>{_SLOT}" for at in range(references))


def _over_white(picture: Pictures.Image) -> Pictures.Image:
    if picture.mode != "RGBA":
        return picture.convert("RGB")
    white = Pictures.new("RGB", picture.size, (255, 255, 255))
    white.paste(picture, mask=picture.getchannel("A"))
    return white
