"""A Qwen3-VL of a million parameters: the real class, configuration and processor, at about 1/8000 of the size."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import GenerationConfig, Qwen2Tokenizer, Qwen3VLConfig, Qwen3VLForConditionalGeneration
from transformers.models.qwen2_vl import Qwen2VLImageProcessor
from transformers.models.qwen3_vl import Qwen3VLProcessor, Qwen3VLVideoProcessor

from model.miniature.build.tokenizer import TEMPLATE

SIDE_PX, PATCH_PX, MERGE = 96, 8, 2
GRID = SIDE_PX // PATCH_PX  # patches a side
TOKENS = (GRID // MERGE) ** 2  # of an image
HEAD = 32  # of the text model: attention on CPUs wants multiples of 32
_PIXELS = {"shortest_edge": SIDE_PX * SIDE_PX, "longest_edge": SIDE_PX * SIDE_PX}


def new_model(
    tokenizer: Qwen2Tokenizer, *, hidden: int, layers: int, sees: int, seed: int
) -> Qwen3VLForConditionalGeneration:
    """Random weights. `hidden` is the width of the text model, a multiple of 64; the vision tower is as wide, and `sees` deep."""
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in tokenizer.all_special_tokens}
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": -(-len(tokenizer) // 64) * 64,
            "hidden_size": hidden,
            "intermediate_size": 3 * hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": hidden // HEAD,
            "num_key_value_heads": hidden // HEAD // 2,
            "head_dim": HEAD,
            "max_position_embeddings": 4096,
            "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [6, 5, 5],
                "mrope_interleaved": True,
            },
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
        },
        vision_config={
            "depth": sees,
            "hidden_size": hidden,
            "intermediate_size": 3 * hidden,
            "num_heads": hidden // HEAD,
            "patch_size": PATCH_PX,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": 2,
            "out_hidden_size": hidden,
            "num_position_embeddings": GRID * GRID,
            "deepstack_visual_indexes": [1],  # one is enough here, and its merger is a fifth of all weights
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    model = Qwen3VLForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        do_sample=False,
        eos_token_id=[ids["<|im_end|>"], ids["<|endoftext|>"]],
        pad_token_id=ids["<|endoftext|>"],
        bos_token_id=ids["<|endoftext|>"],
    )
    return model


def new_processor(tokenizer: Qwen2Tokenizer) -> Qwen3VLProcessor:
    """Every square picture becomes SIDE_PX squared, and TOKENS tokens."""
    shape = {"patch_size": PATCH_PX, "temporal_patch_size": 2, "merge_size": MERGE}
    levels = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=_PIXELS, **shape, **levels),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(size=_PIXELS, **shape, **levels),
        chat_template=TEMPLATE,
    )


def save(
    model: Qwen3VLForConditionalGeneration, tokenizer: Qwen2Tokenizer, folder: Path, beside: Path | None = None
) -> None:
    """As anything that serves a Qwen3-VL reads it, in half precision; the processor in a folder `beside`, or in the same."""
    processor, place = new_processor(tokenizer), beside or folder
    model.to(torch.float16).save_pretrained(folder)
    model.to(torch.float32)
    processor.save_pretrained(place)
    # Servers of other versions look for the image processor in a file of its own.
    image = processor.image_processor.to_dict() | {"image_processor_type": "Qwen2VLImageProcessor"}
    (place / "preprocessor_config.json").write_text(json.dumps(image, indent=1, default=str), encoding="utf-8")
