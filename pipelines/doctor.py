"""Doctor: what a workspace's profile needs, what is here, what abstains for want of it, and the line that mends it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

import httpx

from flywheel.encoders.server import served_models
from flywheel.encoders.vlm_serving import amiss, serve_line, serve_lines
from flywheel.errors import FlywheelError
from flywheel.workspace import Workspace
from pipelines.captioner import captioner_of
from pipelines.embedding import encoders_of
from pipelines.policies import active_policy
from pipelines.profiles import HEADS, find_weights, models_home, recipe_of
from pipelines.published import PUBLISHED

# What each needs beyond the base installation, by the module that shows it.
_EXTRAS = {"torch": "model", "transformers": "model", "open_clip": "model", "llguidance": "model"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`what` is looked at, `says` how it is; `abstains` for want of it; `mends` is a line to type or an entry to write."""

    what: str
    ok: bool
    says: str
    abstains: str = ""
    mends: str = ""


def examine(workspace: Workspace) -> list[Finding]:
    """Look at everything, change nothing."""
    return [*_installed(), *_weights(workspace), *_captioner(workspace), *_policy(workspace)]


def _installed() -> list[Finding]:
    missing = [module for module in _EXTRAS if find_spec(module) is None]
    if not missing:
        return [Finding(what="packages", ok=True, says="torch, transformers, open_clip and llguidance are installed")]
    mends = "pip install 'flywheel-t2i[model]'"
    return [Finding(what="packages", ok=False, says=f"no {', '.join(missing)}", abstains="all models", mends=mends)]


def _weights(workspace: Workspace) -> list[Finding]:
    recipe = recipe_of(workspace)
    named = {"clip": recipe.clip, **recipe.heads, "foreign": recipe.foreign}
    judged = {"clip": "search, clip, aesthetic, nsfw, watermark", "foreign": "nothing: every picture counts as known"}
    found = []
    for what, name in named.items():
        if name is None:
            if what != "foreign":
                mends = f'under [models] in flywheel.toml: {what} = "NAME"'
                found.append(
                    Finding(what=what, ok=False, says="none is named", abstains=judged.get(what, what), mends=mends)
                )
            continue
        place = find_weights(name)
        if place is not None:
            found.append(Finding(what=what, ok=True, says=f"{name}: {place}"))
            continue
        how = f"pull {name}" if name in PUBLISHED else f"add {name} PATH"
        mends, says = f"flywheel models {how}", f"{name} is not in {models_home()}"
        found.append(Finding(what=what, ok=False, says=says, abstains=judged.get(what, what), mends=mends))
    return found


def _captioner(workspace: Workspace) -> list[Finding]:
    recipe, captioner = recipe_of(workspace), captioner_of(workspace)
    if captioner is None:
        says = (
            "none is named" if recipe.captioner is None else f"{recipe.captioner} is neither served nor on this machine"
        )
        mends = (
            'under [captioner] in flywheel.toml: urls = ["http://127.0.0.1:8000/v1"], and serve it: ' + serve_lines()[0]
        )
        return [Finding(what="captioner", ok=False, says=says, abstains="captions, clip, token_length", mends=mends)]
    if captioner.served.folder is not None:
        return [
            Finding(what="captioner", ok=True, says=f"{captioner.name}: {captioner.served.folder}, in this process")
        ]
    return [_served(url, captioner.name) for url in captioner.served.urls]


def _served(url: str, name: str) -> Finding:
    try:
        models = served_models(url)
    except FlywheelError as error:
        return Finding(what="captioner", ok=False, says=str(error), abstains="captions", mends=serve_lines()[0])
    if name in models:
        return _answering(url, name)
    says, mends = f"{url} serves {', '.join(models)}, not {name}", f'under [captioner]: served_as = "{models[0]}"'
    return Finding(what="captioner", ok=False, says=says, abstains="captions", mends=mends)


def _answering(url: str, name: str) -> Finding:
    """Whether a server that has the model is set up for captions: asked, not believed."""
    try:
        wrong = amiss(url, name)
    except httpx.HTTPError as error:
        wrong = [f"no answer to a picture with a schema: {type(error).__name__}"]
    if not wrong:
        says = f"{url} serves {name}; guided answers are valid, one image a request"
        return Finding(what="captioner", ok=True, says=says)
    says = f"{url} serves {name}, but {'; '.join(wrong)}"
    return Finding(what="captioner", ok=False, says=says, abstains="captions may fail", mends=serve_line(name))


def _policy(workspace: Workspace) -> list[Finding]:
    """Numbers of other weights than a policy names do not count under it."""
    policy, encoders = active_policy(workspace), encoders_of(workspace)
    if encoders is None:
        return []
    here = {"clip": encoders.clip.model_id, **{name: version for name, (version, _) in encoders.heads.items()}}
    wrong = [
        f"{name} by {policy.calibrated_for[name]}, not {here[name]}"
        for name in ("clip", *HEADS)
        if name in here and name in policy.calibrated_for and policy.calibrated_for[name] != here[name]
    ]
    if not wrong:
        return [Finding(what="policy", ok=True, says=f"{policy.name} judges by the weights at hand")]
    return [
        Finding(
            what="policy",
            ok=False,
            says=f"{policy.name} judges {'; '.join(wrong)}",
            abstains="these rules",
            mends="name the weights under [calibrated_for] in a policy of your own, with thresholds for them, and activate it",
        )
    ]
