"""What is written in the picture: words, places, script."""

from __future__ import annotations

import json
import re

import numpy as np
import pyarrow as pa

from filters.scorers.planes import Row
from filters.scorers.scorer import Scorer
from flywheel.encoders.ocr import VERSION, Reading, script_of
from flywheel.schemas import score_spec

GRID = 256
# Lines lower than this share of the height are small print. Our choice: 25 px of a 1,024 px picture.
SMALL_LINE = 0.025
HAN_OR_KANA = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")


def measure(reading: Reading) -> Row:
    """`text_area`: share of the picture under lines, read or not; `unread_share`: how much of it could not be read.

    `script` is "unread" where most of the text is: the reader abstains, and so must whoever relies on `text`.
    """
    lines, unread = reading.lines, reading.unread
    text = "\n".join(line.text for line in lines)
    area, blind = _covered([line.box for line in lines]), _covered(list(unread))
    unread_share = blind / (area + blind) if area + blind else 0.0
    heights = [line.box[3] - line.box[1] for line in lines]
    boxes = [[*(round(side, 4) for side in line.box), line.text, round(line.confidence, 3)] for line in lines]
    return {
        "words": word_count(text),
        "lines": len(lines),
        "text": text,
        "boxes_json": json.dumps(boxes, ensure_ascii=False, separators=(",", ":")),
        "text_area": _covered([*(line.box for line in lines), *unread]),
        "script": "unread" if unread_share > 0.5 else script_of(text),
        "mean_confidence": float(np.mean([line.confidence for line in lines])) if lines else None,
        "small_text_share": float(np.mean([height < SMALL_LINE for height in heights])) if heights else None,
        "unread_share": unread_share,
    }


def word_count(text: str) -> int:
    """Words between spaces; two characters of Han or kana count as one word."""
    written_solid = len(HAN_OR_KANA.findall(text))
    spaced = re.findall(r"\w+", HAN_OR_KANA.sub(" ", text))
    return len(spaced) + (written_solid + 1) // 2


def _covered(boxes: list[tuple[float, float, float, float]]) -> float:
    """Share of a 256 x 256 grid that the boxes cover; overlaps count once."""
    grid = np.zeros((GRID, GRID), np.bool_)
    for x0, y0, x1, y1 in boxes:
        grid[
            round(y0 * GRID) : max(round(y0 * GRID) + 1, round(y1 * GRID)),
            round(x0 * GRID) : max(round(x0 * GRID) + 1, round(x1 * GRID)),
        ] = True
    return float(grid.mean())


SCORER = Scorer(
    name="ocr",
    version=f"ocr-1/{VERSION}",
    reads="ocr",
    table=score_spec(
        "ocr",
        "what is written in the picture, and where",
        {
            "words": pa.int32(),
            "lines": pa.int32(),
            "text": pa.string(),
            "boxes_json": pa.string(),
            "text_area": pa.float64(),
            "script": pa.string(),
            "mean_confidence": pa.float64(),
            "small_text_share": pa.float64(),
            "unread_share": pa.float64(),
        },
    ),
    measure=measure,
    says="words, text in reading order, boxes, text area 0..1, script, confidence",
)
