"""`python -m model.miniature.build`: train every bundled weight, examine it, write it beside its card.

Seeded, and resumable: a course that was killed goes on from its last state in the build folder, one that is done is skipped.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import open_clip
from torch import nn
from transformers import Qwen3VLForConditionalGeneration

from flywheel.sums import SUMS, sums_of
from model.bundled import NAME
from model.miniature import drawing_exam
from model.miniature.build import condition_heads, courses, exam
from model.miniature.build.card import write_card
from model.miniature.build.checkpoint import GRID, MERGE, SIDE_PX, new_model, save
from model.miniature.build.contrast import (
    EMBED,
    MARKS,
    PATCH_PX,
    WIDTH,
    clip_sight,
    contrast,
    ended_tokenizer,
    new_clip,
    save_clip,
    sharpen,
)
from model.miniature.build.courses import Student
from model.miniature.build.curves import Curve
from model.miniature.build.drawing import DrawingBuilder
from model.miniature.build.facets import FacetHeads
from model.miniature.build.heads import heads, new_heads, save_heads
from model.miniature.build.lessons import Writer
from model.miniature.build.probes import Probes
from model.miniature.build.tokenizer import world_tokenizer
from model.miniature.build.trainer import Course, follow
from model.miniature.build.wordings import told_plainly

HIDDEN, LAYERS, PARSING_LAYERS = 128, 4, 6  # parsing a prompt takes more steps than writing one
STEPS = {
    "sight": 1100,
    "captioner": 700,
    "polish": 220,
    "judge": 150,
    "condition": 640,
    "clip-sight": 700,
    "clip": 680,
    "clip-sharp": 140,
    "heads": 2000,
}
VERSION = 1  # of all names; another training is another version
PROBES = "probes.safetensors"  # beside the condition encoder: what its features are examined by
EXAMINED, ON_THE_WAY = 512, 64  # pictures or prompts an exam
PARTS = ("reading", "drawing")
Say = Callable[[str], None]


class Builder:
    """One seed, one build folder. Each part trains what it needs first, unless it is there."""

    def __init__(self, folder: Path, into: Path, seed: int, say: Say) -> None:
        self._folder, self._into, self._seed, self._say = folder, into, seed, say
        self._tokenizer = world_tokenizer()
        self.cpu_s: dict[str, float] = {}  # of each course
        folder.mkdir(parents=True, exist_ok=True)

    def reading(self, role: str) -> Mapping[str, Any]:
        """All that reads pictures and prompts: train, write, examine. Figures by model."""
        captioner, judge = self.captioner_and_judge()
        condition, read_by = self.condition()
        clip, parts = self.clip()
        for name, student in (("captioner", captioner), ("judge", judge)):
            save(student.model, self._tokenizer, self._into / f"{name}-miniature-{VERSION}")
        home = self._into / NAME  # the condition encoder is the image model's own
        save(condition.model, self._tokenizer, home / "text_encoder", home / "processor")
        condition_heads.save_heads(read_by, home / "text_encoder" / PROBES)
        save_clip(clip, self._tokenizer, self._into / f"clip-miniature-{VERSION}")
        save_heads(parts, self._into, VERSION)
        words, seed = ended_tokenizer(self._tokenizer), self._seed
        return {
            "captioner": exam.captions_exact(captioner, EXAMINED, role, seed),
            "judge": exam.judge_exact(judge, EXAMINED, role, seed),
            "condition": exam.condition_told(condition, read_by, EXAMINED, role, seed),
            "condition, unseen wordings": exam.condition_told(condition, read_by, EXAMINED, role, seed, told_plainly),
            "condition, edits": exam.instruction_told(condition, read_by, EXAMINED, role, seed),
            "clip": exam.clip_finds(clip, words, role, seed),
            "heads": exam.heads_told(clip, parts, EXAMINED, role, seed),
        }

    def captioner_and_judge(self) -> tuple[Student, Student]:
        captioner, facets = self._seeing()
        self._follow(courses.captioner(captioner, facets, STEPS["captioner"], self._seed))
        judge = self._student("chat")
        judge.model.load_state_dict(captioner.model.state_dict())
        self._follow(courses.judge(judge, STEPS["judge"], self._seed))
        self._follow(courses.polish(captioner, STEPS["polish"], self._seed))
        return captioner, judge

    def condition(self) -> tuple[Student, condition_heads.ConditionHeads]:
        seeing, _ = self._seeing()
        student = self._student("condition", PARSING_LAYERS)
        student.model.model.visual.load_state_dict(seeing.model.model.visual.state_dict())
        read_by = condition_heads.new_heads(HIDDEN, self._tokenizer)
        self._follow(courses.condition(student, read_by, STEPS["condition"], self._seed))
        return student, read_by

    def clip(self) -> tuple[open_clip.CLIP, nn.ModuleDict]:
        clip = new_clip(self._tokenizer, self._seed)
        facets, marks = FacetHeads(WIDTH, SIDE_PX // PATCH_PX), nn.Linear(EMBED, len(MARKS))
        extra = nn.ModuleDict({"facets": facets, "marks": marks})
        self._follow(clip_sight(clip, extra, STEPS["clip-sight"], self._seed))
        extra["probes"] = Probes(EMBED)
        self._follow(contrast(clip, extra, self._tokenizer, STEPS["clip"], self._seed))
        self._follow(sharpen(clip, extra, self._tokenizer, STEPS["clip-sharp"], self._seed))
        parts = new_heads(self._seed)
        self._follow(heads(clip, parts, STEPS["heads"], self._seed))
        clip.eval()
        parts.eval()
        return clip, parts

    def _seeing(self) -> tuple[Student, FacetHeads]:
        """A model whose vision tower has learned to see, and what reads the facets from it."""
        student, facets = self._student("chat"), FacetHeads(HIDDEN, GRID // MERGE)
        self._follow(courses.sight(student, facets, STEPS["sight"], self._seed))
        return student, facets

    def _student(self, opening: str, layers: int = LAYERS) -> Student:
        model: Qwen3VLForConditionalGeneration = new_model(
            self._tokenizer, hidden=HIDDEN, layers=layers, sees=LAYERS, seed=self._seed
        )
        return Student(model, Writer(self._tokenizer, opening))

    def _follow(self, course: Course) -> None:
        self.cpu_s[course.name] = follow(course, self._folder, self._say)


def drawing(
    folder: Path, into: Path, seed: int, role: str, say: Say
) -> tuple[Mapping[str, Any], Mapping[str, float], Curve]:
    """The image model: train, write, examine. Figures by suite, processor seconds by part, and what it could on the way."""
    builder = DrawingBuilder(folder / "drawing", into / NAME, seed, say)
    model = builder.write()
    return drawing_exam.report(model, EXAMINED, role), builder.cpu_s, builder.curve(model, ON_THE_WAY)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m model.miniature.build", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=Path("build/miniature"), help="states to go on from after a kill"
    )
    parser.add_argument("--into", type=Path, default=Path(__file__).parents[1] / "weights", help="where weights go")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--role", default="gate", help="prompts that the exam is taken on: triage, gate or report")
    parser.add_argument("--part", choices=PARTS, help="one alone; what draws needs what reads")
    chosen = parser.parse_args()

    def say(said: str) -> None:
        print(said, flush=True)

    figures: dict[str, Mapping[str, Any]] = {}
    cpu_s: dict[str, Mapping[str, float]] = {}
    curve: Curve = ()
    if chosen.part != "drawing":
        builder = Builder(chosen.folder, chosen.into, chosen.seed, say)
        figures["reading"] = builder.reading(chosen.role)
        cpu_s["reading"] = builder.cpu_s
    if chosen.part != "reading":
        figures["drawing"], cpu_s["drawing"], curve = drawing(chosen.folder, chosen.into, chosen.seed, chosen.role, say)
    for part in figures:
        way = curve if part == "drawing" else ()
        write_card(chosen.into, part, VERSION, chosen.seed, chosen.role, figures[part], cpu_s[part], way)
    files = [path for path in chosen.into.rglob("*") if path.is_file() and path.name != SUMS]
    (chosen.into / SUMS).write_text(sums_of(files, chosen.into), encoding="utf-8")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
