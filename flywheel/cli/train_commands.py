"""Commands of the trainer: recipes, train, generate."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flywheel.cli.app import DEFAULT, AsJson, Printer, Where, app, emit, open_workspace, table
from flywheel.errors import UsageError

if TYPE_CHECKING:
    from model.data.examples import Offered
    from model.train.jobs import GeneratorJob, Job
    from model.train.run import Watch

recipes = typer.Typer(help="What training runs are made of.", no_args_is_help=True)
app.add_typer(recipes, name="recipe")
training = typer.Typer(help="Train the bundled networks, or your own weights.", no_args_is_help=True)
app.add_typer(training, name="train")

_SNAPSHOT = "snapshot:"
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting: optimizer.lr=3e-4, steps=500.")
]
RecipeName = Annotated[str, typer.Option("--recipe", help="One of `flywheel recipe list`.")]
Data = Annotated[
    list[str],
    typer.Option(
        "--data",
        help="A folder, a tar, a data set that `datasets` saved, or snapshot:ID of the workspace; as often as wanted.",
    ),
]
RunFolder = Annotated[
    Path, typer.Option("--out", "-o", help="The run's folder: checkpoints, curves, grids, the model.")
]
RayWorkers = Annotated[
    int | None, typer.Option(min=1, help="So many workers of Ray Train, on RAY_ADDRESS or here. Default: none.")
]
Model = Annotated[
    Path | None,
    typer.Option("--model", help="An image model's folder, as diffusers has them. Default: the bundled one."),
]


@recipes.command("list")
def list_recipes(as_json: AsJson = False) -> None:
    """The recipes that come with the program."""
    from model.train.recipes import AUTOENCODER_RECIPES, RECIPES

    known = {**RECIPES, **AUTOENCODER_RECIPES}
    rows = [[name, recipe.digest, recipe.says] for name, recipe in known.items()]
    document = {name: {"digest": recipe.digest, "says": recipe.says} for name, recipe in known.items()}
    emit(as_json, document, lambda say: table(None, ["recipe", "digest", "what it is"], rows))


@recipes.command("show")
def show_recipe(
    name: Annotated[str, typer.Argument(help="One of `flywheel recipe list`.")],
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Every setting of a recipe, with changes applied."""
    from model.train.recipes import AUTOENCODER_RECIPES, autoencoder_recipe_named, recipe_named
    from model.train.settings import with_settings

    named = autoencoder_recipe_named if name in AUTOENCODER_RECIPES else recipe_named
    recipe = with_settings(named(name), settings or [])
    document = {**asdict(recipe), "digest": recipe.digest}
    rows = [[key, _told(value)] for key, value in _flat(document)]
    emit(as_json, document, lambda say: table(None, ["setting", "value"], rows))


@training.command("mmdit")
def train_mmdit(
    recipe: RecipeName,
    data: Data,
    out: RunFolder,
    model: Model = None,
    settings: Settings = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    cache: Annotated[Path | None, typer.Option(help="Where latents and features are kept. Default: in --out.")] = None,
    ray_workers: RayWorkers = None,
    workspace: Where = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Train the generator. Under `torchrun`, or with --ray-workers, each worker takes its share."""
    from model.train.jobs import GeneratorJob
    from model.train.recipes import recipe_named
    from model.train.settings import with_settings

    chosen = with_settings(recipe_named(recipe), settings or [])
    job = GeneratorJob(
        recipe=chosen,
        model=model,
        found=_offered(data, workspace),
        run=out,
        cache=cache or out / "cache",
        resume=resume,
    )
    _run(job, ray_workers, as_json, _report, lambda report: _written_down(report, data, workspace, job))


@training.command("vae")
def train_vae(
    recipe: RecipeName,
    data: Data,
    out: RunFolder,
    begin: Annotated[
        Path | None, typer.Option("--from", help="A vae folder to go on from. Default: new weights.")
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(help="What some recipes look through: a DINOv2's or open_clip's folder, or a bundled one's name."),
    ] = None,
    text_rich: Annotated[
        str | None,
        typer.Option(help="A second source as --data, of pictures with much text, for the phases that want them."),
    ] = None,
    read: Annotated[
        bool, typer.Option("--read", help="Tell how well an OCR reads held-out pictures afterwards.")
    ] = False,
    settings: Settings = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    ray_workers: RayWorkers = None,
    workspace: Where = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Train an autoencoder. Under `torchrun`, or with --ray-workers, each worker takes its share."""
    from model.train.jobs import AutoencoderJob
    from model.train.recipes import autoencoder_recipe_named
    from model.train.settings import with_settings

    chosen = with_settings(autoencoder_recipe_named(recipe), settings or [])
    job = AutoencoderJob(
        recipe=chosen,
        found=_offered(data, workspace, captioned=False),
        text_rich=_offered([text_rich], workspace, captioned=False).examples if text_rich else (),
        reads=read,
        run=out,
        begin=begin,
        features=_features(features),
        resume=resume,
    )
    _run(job, ray_workers, as_json, _vae_report)


@app.command()
def generate(
    prompts: Annotated[list[str], typer.Argument(metavar="PROMPT...", help="What to draw, or how to edit --image.")],
    image: Annotated[list[Path] | None, typer.Option("--image", help="A reference to edit; up to 10.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder that pictures are put into.")] = Path(),
    model: Model = None,
    lora: Annotated[Path | None, typer.Option(help="A LoRA in diffusers' layout, or a run's lora folder.")] = None,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Pixels. Default: the model's own.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Default: the model's own.")] = None,
    guidance: Annotated[float | None, typer.Option(min=1, help="1: none. Default: the model's own.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the first picture; the next has the next.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Make a picture a prompt."""
    from model.drawing import draw

    drawn = draw(prompts, image or [], out, model, size=size, steps=steps, guidance=guidance, seed=seed, lora=lora)
    document = {"pictures": [{**asdict(one), "file": str(one.file)} for one in drawn]}

    def lines(say: Printer) -> None:
        for one in drawn:
            say(f"{one.file}  {one.prompt}")

    emit(as_json, document, lines)


def _run(
    job: Job,
    ray_workers: int | None,
    as_json: bool,
    told: Callable[[Printer, Mapping[str, Any]], None],
    after: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda report: report,
) -> None:
    """The report is the first worker's to give; `after`: what it does beside, and tells."""
    if ray_workers is None:
        report = job(_watching)
    else:
        from pipelines.ray_training import on_ray

        report = on_ray(job, ray_workers)
    if report is not None:
        document = after(report)
        emit(as_json, document, lambda say: told(say, document))


def _written_down(
    report: Mapping[str, Any], data: Sequence[str], workspace: str, job: GeneratorJob
) -> Mapping[str, Any]:
    """What came of snapshots alone is a checkpoint of the workspace: what it was shown can be asked from then on."""
    if job.recipe.lora.rank or not all(source.startswith(_SNAPSHOT) for source in data):
        return report
    from pipelines.checkpoints import BUNDLED, checkpoint_named, checkpoint_trained

    opened = open_workspace(workspace)
    goes_on = job.recipe.begins == "weights"
    parent = checkpoint_named(opened, str(job.model or BUNDLED)).checkpoint_id if goes_on else ""
    found = checkpoint_trained(
        opened,
        Path(report["model"]),
        parent=parent,
        snapshots=[source.removeprefix(_SNAPSHOT) for source in data],
        recipe=json.dumps(asdict(job.recipe), sort_keys=True),
    )
    return {**report, "checkpoint_id": found.checkpoint_id}


def _features(name: str | None) -> Path | None:
    if name is None or Path(name).is_dir():
        return None if name is None else Path(name)
    from pipelines.profiles import find_weights

    found = find_weights(name)
    if found is None:
        raise UsageError(f"--features {name}: no folder, and no weights of that name come with the program")
    return found


def _offered(sources: Sequence[str], workspace: str, captioned: bool = True) -> Offered:
    from model.data.examples import together

    return together([_offered_by(source, workspace, captioned) for source in sources])


def _offered_by(source: str, workspace: str, captioned: bool) -> Offered:
    if source.startswith(_SNAPSHOT):
        from pipelines.training import offered_by_snapshot

        return offered_by_snapshot(open_workspace(workspace), source.removeprefix(_SNAPSHOT), captioned)
    from model.data.examples import offered

    if "://" in source:
        raise UsageError(f"{source} is no folder here: ingest it and train on its snapshot")
    return offered(Path(source), captioned)


@contextmanager
def _watching(is_first: bool) -> Iterator[Watch]:
    """Bars on a terminal; on anything else a line now and then."""
    from flywheel.cli.training_progress import watching

    with watching(is_first) as watch:
        yield watch


def _report(say: Printer, report: Mapping[str, Any]) -> None:
    loss = "" if report["loss"] is None else f", loss {report['loss']:.4f}"
    say(f"{report['steps']} steps{loss}; {report['examples']} examples, {report['edits']} edits")
    for reason, count in report["left_out"].items():
        say(f"left out: {count} {reason}")
    for decision, count in report["skipped"].items():
        say(f"steps not taken: {count} {decision}")
    if pace := report["pace"]:
        mfu = "" if pace["mfu"] is None else f", {pace['mfu']:.1%} of the device's peak"
        say(f"{pace['samples_s']:.1f} samples/s, {pace['waited']:.1%} of the time waiting for data{mfu}")
    say(f"model: {report['model']}")
    if "checkpoint_id" in report:
        say(f"checkpoint {report['checkpoint_id'][:8]}: flywheel evaluate --checkpoint {report['checkpoint_id'][:8]}")


def _vae_report(say: Printer, report: Mapping[str, Any]) -> None:
    loss = "" if report["loss"] is None else f", loss {report['loss']:.4f}"
    say(f"{report['steps']} steps{loss}; {report['pictures']} pictures")
    for reason, count in report["left_out"].items():
        say(f"left out: {count} {reason}")
    if measured := report["quality"]:
        read = "" if measured["ned"] is None else f", {measured['ned']:.1%} of their signs read as before"
        say(
            f"{measured['pictures']} held-out pictures: PSNR {measured['psnr']:.2f} dB, SSIM {measured['ssim']:.4f}{read}"
        )
    say(f"autoencoder: {report['vae']}")


def _flat(document: dict[str, object], before: str = "") -> list[tuple[str, object]]:
    """Nested settings by their dotted names, as --set takes them."""
    found: list[tuple[str, object]] = []
    for key, value in document.items():
        found += _flat(value, f"{before}{key}.") if isinstance(value, dict) else [(before + key, value)]
    return found


def _told(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
