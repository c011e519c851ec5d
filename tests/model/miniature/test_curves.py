"""What a run could draw on its way is told of the checkpoints that it left."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import small_model

from model.data.examples import offered
from model.miniature.build.card import write_card
from model.miniature.build.curves import curve
from model.sample import Sampling
from model.train.generator import train_generator


def test_a_curve_is_of_the_last_checkpoint_and_of_those_before(tmp_path: Path) -> None:
    small_model.write_pictures(tmp_path / "data", 6)
    sampling = Sampling(width_px=96, height_px=96, steps=1)
    base, run = replace(small_model.model(), sampling=sampling), tmp_path / "run"
    recipe = replace(small_model.RECIPE, begins="weights", edits=0.0, steps=5, save_every=1, keep=9)
    train_generator(
        recipe,
        base,
        offered(tmp_path / "data"),
        run,
        cache=tmp_path / "cache",
        resume=False,
        watch=lambda *told: None,
    )
    found = curve(run, base, 1, "gate", 3)
    assert [point["step"] for point in found] == [1, 3, 5]
    assert all(0 <= point["L4"] <= 1 and point["loss"] > 0 for point in found)
    write_card(tmp_path, "drawing", 1, 0, "report", {"L1": {"exact": 0.5}}, {"generator": 60.0}, found)
    card = (tmp_path / "MODEL_CARD.md").read_text()
    assert f"| 3 | {found[1]['loss']:.3f} |" in card
