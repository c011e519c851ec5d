"""From prompts to pictures: condition encoder, network and autoencoder together, in a folder that diffusers' pipeline loads too.

Noise is drawn on the CPU from each picture's own seed, so that a picture does not depend on its neighbours or the device.
Shapes: B pictures, N tokens of the target, C latent channels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import torch
from PIL import Image as Pictures
from torch import Tensor

from flywheel.errors import FlywheelError
from model.condition import NULL_PROMPT, Condition, ConditionEncoder
from model.flow import Flow, euler, guided
from model.layout import Image, Layout, whole_tokens
from model.mmdit import CLASS_NAME as NETWORK
from model.mmdit import MMDiT, PrefixCache
from model.precision import CPU, placed
from model.pretrained import DIFFUSERS_VERSION, class_of, write_json
from model.vae import CLASS_NAME as RESIDUAL
from model.vae import VAE
from model.vae_linear import CLASS_NAME as LINEAR
from model.vae_linear import LinearVAE

INDEX = "model_index.json"
References = Sequence[Sequence[Pictures.Image]]  # of each prompt
_PARTS = {
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "Qwen3VLForConditionalGeneration"],
    "processor": ["transformers", "Qwen3VLProcessor"],
    "transformer": ["diffusers", NETWORK],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """`guidance` above 1 asks the network twice a step, the second time with `negative`. `sigmas`: a student's own grid.

    Defaults are the release's. Raises ValueError for a guidance below 1 or a size that is no whole number of tokens.
    """

    width_px: int = 1024
    height_px: int = 1024
    steps: int = 40
    guidance: float = 1.0
    negative: str = NULL_PROMPT
    sigmas: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        whole_tokens(self.height_px, self.width_px)
        if self.guidance < 1:
            raise ValueError(f"guidance is 1 (none) or more, not {self.guidance}")

    @property
    def target(self) -> Image:
        return whole_tokens(self.height_px, self.width_px)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageModel:
    """All that it takes to make a picture."""

    condition: ConditionEncoder
    network: MMDiT
    vae: VAE | LinearVAE
    flow: Flow = field(default_factory=Flow)
    sampling: Sampling = field(default_factory=Sampling)  # how it is sampled where nobody says otherwise
    device: torch.device = CPU  # each part is there while it works

    @torch.no_grad()
    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        sampling: Sampling,
        references: References | None = None,
    ) -> list[Pictures.Image]:
        """One picture a prompt, its seed and its own references: each what it would be alone, whatever is drawn beside it.

        Raises ValueError for sides that are no whole tokens, and for references that differ in number or sizes.
        """
        if len(prompts) != len(seeds) or len(prompts) != len(references or prompts):
            raise ValueError(f"a seed a prompt, and references for each: {len(seeds)} seeds for {len(prompts)}")
        kept = self._encoded(references or [])
        with placed(self.condition.module, self.device):
            told = self.condition.encode(prompts, references)
            nulls = self._nulls(sampling.negative, references, len(prompts)) if sampling.guidance > 1 else None
        latents_BNC = self.noise(seeds, sampling.target)
        for alike in _of_one_length(told):
            latents_BNC[alike] = self.denoise(
                [told[at] for at in alike],
                None if nulls is None else [nulls[at] for at in alike],
                [one[alike] for one in kept],
                latents_BNC[alike],
                sampling,
            )
        return [as_picture(one) for one in self.decoded(latents_BNC, sampling.target)]

    def denoise(
        self,
        told: Sequence[Condition],
        nulls: Sequence[Condition] | None,
        references: Sequence[Tensor],
        noise_BNC: Tensor,
        sampling: Sampling,
    ) -> Tensor:
        """(B, N, C). `nulls`: what is not wanted, under guidance.

        `references` (B, C, H, W) each are the pictures' normalised latents, the first ones of all first.
        """
        asked = self._velocity(told, references, sampling.target)
        unasked = None if nulls is None else self._velocity(nulls, references, sampling.target)
        sigmas = sampling.sigmas or self.flow.schedule(sampling.steps, sampling.target.tokens)

        def velocity(latents_BNC: Tensor, sigma: float) -> Tensor:
            found = asked(latents_BNC, sigma)
            return found if unasked is None else guided(found, unasked(latents_BNC, sigma), sampling.guidance)

        with placed(self.network, self.device):
            return euler(velocity, noise_BNC, sigmas)

    def noise(self, seeds: Sequence[int], target: Image) -> Tensor:
        """(B, N, C): each picture's from its own seed."""
        channels = self.network.config.in_channels
        drawn = [torch.randn(channels, target.tokens, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return torch.stack(drawn).transpose(1, 2)

    def decoded(self, latents_BNC: Tensor, target: Image) -> Tensor:
        """(B, channels, height, width) in -1..1."""
        grid = latents_BNC.transpose(1, 2).reshape(len(latents_BNC), -1, target.height, target.width)
        mean, deviation = self._over_pixels()
        with placed(self.vae, self.device):
            return self.vae.decode((grid * deviation + mean).to(self.device)).clamp(-1, 1).cpu()

    @torch.no_grad()
    def reconstructed(self, pictures: Sequence[Pictures.Image]) -> list[Pictures.Image]:
        """Through the autoencoder alone: what it cannot keep, no network can draw. Pictures of whole tokens, of one size."""
        images = torch.cat([_pixels(one, self.vae.config.in_channels) for one in pictures]).to(self.device)
        with placed(self.vae, self.device):
            made = self.vae.decode(self.vae.encode(images)).clamp(-1, 1).cpu()
        return [as_picture(one) for one in made]

    def _nulls(self, negative: str, pictures: References | None, number: int) -> list[Condition]:
        """What is not wanted, with each one's references; once where all have the same."""
        if pictures is None or all(own is pictures[0] for own in pictures):
            return self.condition.encode([negative], None if pictures is None else pictures[:1]) * number
        return self.condition.encode([negative] * number, pictures)

    def _encoded(self, references: References) -> list[Tensor]:
        """(B, C, H, W) each, normalised: the first references of all, then the second …"""
        if len({tuple(one.size for one in own) for own in references}) > 1:
            raise ValueError("prompts that are drawn together have references of the same number and sizes")
        mean, deviation = self._over_pixels()
        channels = self.vae.config.in_channels
        pictures = {id(one): one for own in references for one in own}
        with placed(self.vae, self.device):
            seen = {
                name: self.vae.encode(_pixels(one, channels).to(self.device)).cpu() for name, one in pictures.items()
            }
        latents = {name: (one - mean) / deviation for name, one in seen.items()}
        return [torch.cat([latents[id(one)] for one in these]) for these in zip(*references, strict=True)]

    def _velocity(
        self, conditions: Sequence[Condition], references: Sequence[Tensor], target: Image
    ) -> Callable[[Tensor, float], Tensor]:
        """The network under these prompts; text and references are computed once where its config allows."""
        layout, context_BSE, valid_BS = batched(conditions, [Image(*one.shape[2:]) for one in references], target)
        device, dtype = self.device, next(self.network.parameters()).dtype
        context_BSE, valid_BS = context_BSE.to(device, dtype), None if valid_BS is None else valid_BS.to(device)
        before = [one.flatten(2).transpose(1, 2).to(device, dtype) for one in references]
        cache = PrefixCache() if self.network.config.caches else None

        def velocity(latents_BNC: Tensor, sigma: float) -> Tensor:
            latents_BRC = torch.cat([*before, latents_BNC.to(device, dtype)], dim=1)
            sigma_B = torch.full((len(latents_BNC),), sigma, device=device)
            found: Tensor = self.network(latents_BRC, context_BSE, sigma_B, layout, valid_BS=valid_BS, cache=cache)
            return found.to(latents_BNC.device)

        return velocity

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation (C,) that normalise the autoencoder's latents."""
        return torch.tensor(self.vae.config.latents_mean), torch.tensor(self.vae.config.latents_std)

    def _over_pixels(self) -> tuple[Tensor, Tensor]:
        mean, deviation = self.statistics()
        return mean.view(1, -1, 1, 1), deviation.view(1, -1, 1, 1)

    @classmethod
    def load_pretrained(cls, folder: Path, device: torch.device = CPU) -> Self:
        """From a folder as diffusers' pipelines have them; the network in float32, whatever it is stored in.

        Raises FlywheelError, in one line, for what is none.
        """
        if not (folder / INDEX).is_file():
            raise FlywheelError(f"{folder} holds no {INDEX}: it is no folder of an image model")
        vae = load_autoencoder(folder / "vae")
        if len(vae.config.latents_mean) != vae.config.z_dim or len(vae.config.latents_std) != vae.config.z_dim:
            raise FlywheelError(f"{folder / 'vae'} does not say its latents' statistics")
        network = MMDiT.load_pretrained(folder / "transformer")
        processor = folder / "processor"
        condition = ConditionEncoder(
            folder / "text_encoder",
            processor=processor if processor.is_dir() else None,
            dtype=torch.float32 if device.type == "cpu" else torch.bfloat16,
        )
        if network.config.context_in_dim != condition.channels or network.config.in_channels != vae.config.z_dim:
            raise FlywheelError(f"{folder}: network, condition encoder and autoencoder are not of one model")
        flow, sampling = scheduler_of(folder)
        return cls(
            condition=condition, network=network.eval(), vae=vae.eval(), flow=flow, sampling=sampling, device=device
        )

    def save_pretrained(self, folder: Path, *, dtype: torch.dtype | None = None) -> None:
        """A folder that `load_pretrained` loads, and diffusers' `QwenImage21Pipeline` where the autoencoder is the release's.

        `dtype`: what weights are stored in; None: as they are.
        """
        self.network.save_pretrained(folder / "transformer", dtype=dtype)
        self.vae.save_pretrained(folder / "vae", dtype=dtype)
        self.condition.save_pretrained(folder / "text_encoder", folder / "processor", dtype=dtype)
        (folder / "scheduler").mkdir(parents=True, exist_ok=True)
        write_json(folder / "scheduler" / "scheduler_config.json", _scheduler(self.flow, self.sampling))
        vae = ["model", LINEAR] if isinstance(self.vae, LinearVAE) else ["diffusers", RESIDUAL]
        about = {"_class_name": "QwenImage21Pipeline", "_diffusers_version": DIFFUSERS_VERSION}
        write_json(folder / INDEX, {**about, **_PARTS, "vae": vae})


def load_autoencoder(folder: Path) -> VAE | LinearVAE:
    """Whichever of the two lies there. Raises FlywheelError, in one line, for neither."""
    return LinearVAE.load_pretrained(folder) if class_of(folder) == LINEAR else VAE.load_pretrained(folder)


def _of_one_length(conditions: Sequence[Condition]) -> list[list[int]]:
    """Which may be drawn together.

    In a batch the target stands behind the longest prompt. Behind a shorter one it stood elsewhere than it would alone, and
    than it ever did in training: edits of a few words among longer ones came right in 2 of 20 cases, alone in 15.
    """
    found: dict[tuple[int, ...], list[int]] = {}
    for at, one in enumerate(conditions):
        found.setdefault(one.runs, []).append(at)
    return list(found.values())


def batched(
    conditions: Sequence[Condition], references: Sequence[Image], target: Image
) -> tuple[Layout, Tensor, Tensor | None]:
    """One layout for all, features (B, S, E) padded on the right, and which are valid (B, S); None where all are.

    Raises ValueError for conditions that differ before their last run of text: they cannot share a layout.
    """
    if len({one.runs[:-1] for one in conditions}) > 1:
        raise ValueError("prompts of a batch have the same references in the same places")
    longest = max(conditions, key=lambda one: one.runs[-1])
    lengths = [len(one.features_SE) for one in conditions]
    context = torch.nn.utils.rnn.pad_sequence([one.features_SE for one in conditions], batch_first=True)
    valid = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    return longest.layout(references, target), context, None if valid.all() else valid.to(context.device)


def _pixels(picture: Pictures.Image, channels: int) -> Tensor:
    """(1, channels, H, W) in -1..1."""
    levels = np.asarray(picture.convert("RGBA" if channels == 4 else "RGB"))
    return torch.from_numpy(levels.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


def as_picture(image_CHW: Tensor) -> Pictures.Image:
    """Of channels in -1..1, cut to what a picture can show."""
    levels = ((image_CHW.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return Pictures.fromarray(levels.permute(1, 2, 0).cpu().numpy())


def _scheduler(flow: Flow, sampling: Sampling) -> dict[str, object]:
    """In the words of diffusers' FlowMatchEulerDiscreteScheduler; what training draws from is ours alone."""
    return {
        "_class_name": "FlowMatchEulerDiscreteScheduler",
        "_diffusers_version": DIFFUSERS_VERSION,
        "base_shift": flow.base_shift,
        "max_shift": flow.max_shift,
        "base_image_seq_len": flow.base_tokens,
        "max_image_seq_len": flow.max_tokens,
        "num_train_timesteps": 1000,
        "shift": 1.0,
        "shift_terminal": flow.terminal,
        "time_shift_type": "exponential",
        "use_dynamic_shifting": True,
        "flow": asdict(flow),
        "sampling": asdict(sampling),
    }


def scheduler_of(folder: Path) -> tuple[Flow, Sampling]:
    """How a model is sampled by itself, without loading it. Raises FlywheelError where its folder does not say."""
    path = folder / "scheduler" / "scheduler_config.json"
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        if "flow" in read:
            return Flow(**read["flow"]), Sampling(**read.get("sampling", {}))
        flow = Flow(
            base_shift=read["base_shift"],
            max_shift=read["max_shift"],
            base_tokens=read["base_image_seq_len"],
            max_tokens=read["max_image_seq_len"],
            terminal=read["shift_terminal"],
        )
        return flow, Sampling()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FlywheelError(f"{path} cannot be read as a sampler's config: {error}") from error
