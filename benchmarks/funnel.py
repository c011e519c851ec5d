"""The what-if funnel over a million images."""

from __future__ import annotations

from pathlib import Path

from benchmarks import meter
from benchmarks.figures import Figure, Findings
from benchmarks.million import filled
from filters.policy import bundled_text, parse
from pipelines.filtering import funnel_under, what_if

IMAGES = 1_000_000
REPEATS = 5
TARGET_S = 1.0
# The what-if: somebody asks for much sharper pictures from stage 4 on.
OLD, NEW = "min = [0.50, 0.52, 0.55]", "min = [0.60, 0.62, 0.65]"


def run(place: Path) -> Findings:
    """The function alone, the whole what-if (both funnels and what flips), and the command."""
    workspace = filled(place / "million", IMAGES)
    text = bundled_text("cpu").replace(OLD, NEW)
    policy = parse(text)
    file = place / "sharper.toml"
    file.write_text(text, encoding="utf-8")
    funnel = funnel_under(workspace, policy)
    kept = ", ".join(f"{stage.stage}: {stage.total.kept}" for stage in funnel.stages)
    alone = meter.seconds(REPEATS, lambda: funnel_under(workspace, policy))
    both = meter.seconds(3, lambda: what_if(workspace, policy))
    command = meter.repeated(
        3, lambda: meter.run(meter.flywheel("funnel", "--policy", str(file), "-w", str(place / "million")))
    )
    named = [
        ("funnel_under, in process", alone, TARGET_S),
        ("what_if: two funnels and the images that flip", both, TARGET_S),
    ]
    figures = []
    for name, (cpu_s, wall_s), target in named:
        figures.append(Figure(name=f"{name}: wall", measured=wall_s, unit="s", target=target, below=True))
        figures.append(Figure(name=f"{name}: processor", measured=cpu_s, unit="CPU-s"))
    said = "`flywheel funnel --policy FILE`, the whole command"
    figures.append(
        Figure(name=f"{said}: wall", measured=command.wall_s, unit="s", note=f"peak {command.peak_mb:.0f} MB")
    )
    figures.append(Figure(name=f"{said}: processor", measured=command.cpu_s, unit="CPU-s"))
    how = (
        f"{IMAGES:,} images with generated scores of every scorer, their sources and duplicate groups, written as Delta tables of ten files "
        f"each; the real views. Kept under the what-if by stage: {kept}. Median of {REPEATS} (whole what-if and command: of 3). "
        "Wall time is what the target is about; on a machine with other work it is an upper bound, and processor seconds over two cores the lower one."
    )
    return Findings(title="What-if funnel over a million images", how=how, figures=figures)
