"""Pairs of models that share latents and conditioning: real widths and token counts, random weights, made on the card.

Random weights cost what trained ones cost. Depths are cut where a whole model would take too long or not fit 16 GB.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import comfy.model_management as mm
import comfy.sample
import comfy.sd
import torch
from torch import Tensor

from tstitch.families.class_labels import class_inputs
from tstitch.families.dit.checkpoint import VARIANTS, DiTWeights
from tstitch.families.dit.model import build_dit
from tstitch.families.dit.network import DiT, DiTConfig
from tstitch.families.starter import load_starter
from tstitch.stitch.model import ModelStage, stitch_model
from tstitch.stitch.run import Stitch
from tstitch_testing.architectures import Architecture, flux, sdxl, shapes_of, ssd1b, wan
from tstitch_testing.sampling import stitch_of

SEED = 1


@dataclass(frozen=True)
class Family:
    """A small and a large MODEL, and what both are sampled with."""

    name: str
    small: Any
    large: Any
    positive: Any
    negative: Any
    latent: Tensor
    tokens: int  # of one picture or video
    cfg: float
    steps: int

    def sample(
        self,
        model: Any,
        sampler: str = "euler",
        scheduler: str = "simple",
        steps: int | None = None,
        cfg: float | None = None,
        callback: Any = None,
    ) -> Tensor:
        """What the stock KSampler node computes."""
        return comfy.sample.sample(
            model,
            comfy.sample.prepare_noise(self.latent, SEED),
            self.steps if steps is None else steps,
            self.cfg if cfg is None else cfg,
            sampler,
            scheduler,
            self.positive,
            self.negative,
            self.latent,
            callback=callback,
            disable_pbar=True,
            seed=SEED,
        )

    def pattern(self, fraction: float, steps: int | None = None) -> str:
        """So much of the steps on the first model of two."""
        total = self.steps if steps is None else steps
        first = round(fraction * total)
        return " ".join(f"{model}x{count}" for model, count in ((1, first), (2, total - first)) if count)

    def stitched(self, pattern: str, memory: str = "auto", itself: bool = False) -> Any:
        """One MODEL of both, or of the large one and itself."""
        return self.stitched_by(stitch_of(2, pattern=pattern, memory=memory), itself)

    def stitched_by(self, stitch: Stitch, itself: bool = False) -> Any:
        return stitch_model(self.large, [ModelStage(self.large if itself else self.small)], stitch)


# --- Models ----------------------------------------------------------------------------------------------------------


def card_dtype() -> torch.dtype:
    """What large models are computed in."""
    return torch.float32 if mm.get_torch_device().type == "cpu" else torch.bfloat16


def random_state(shapes: dict[str, tuple[int, ...]], seed: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """Weights of the size of trained ones, made on the card: the scale of each layer's output is that of its input."""
    device = mm.get_torch_device()
    generator = torch.Generator(device).manual_seed(seed)

    def weight(key: str, shape: torch.Size) -> Tensor:
        if len(shape) == 1 and not key.endswith("bias"):
            return torch.ones(shape, dtype=dtype, device=device)
        scale = shape[1:].numel() ** -0.5 if len(shape) > 1 else 0.02
        return torch.randn(shape, generator=generator, device=device, dtype=torch.float32).mul_(scale).to(dtype)

    return {key: weight(key, torch.Size(shape)) for key, shape in shapes.items()}


def host_model(architecture: Architecture, seed: int, dtype: torch.dtype | None = None) -> Any:
    """A MODEL of the host's own networks, by the host's own loader."""
    dtype = dtype or card_dtype()
    made_in = dtype if dtype.itemsize > 1 else torch.float16
    state = random_state(architecture.shapes(), seed, made_in)
    return comfy.sd.load_diffusion_model_state_dict(state, model_options={"dtype": dtype})


def dit_model(depth: int, width: int, heads: int, grid: int, seed: int, dtype: torch.dtype | None = None) -> Any:
    """A class-conditional DiT; grid: patches a side."""
    config = DiTConfig(depth, width, heads, patch=2, channels=4, classes=1000, grid=grid, learn_sigma=True)
    with torch.device("meta"):
        shapes = shapes_of(DiT(config, lambda q, *_: q))
    state = random_state(shapes, seed, dtype if dtype and dtype.itemsize > 1 else card_dtype())
    weights = DiTWeights(config, state, VARIANTS["DiT"], "random", {})
    return build_dit(weights, None, dtype or card_dtype())


def text(tokens: int, width: int, pooled: int | None, seed: int) -> list[Any]:
    """A prompt as an encoder gives it."""
    generator = torch.Generator().manual_seed(seed)
    more = {} if pooled is None else {"pooled_output": torch.randn(1, pooled, generator=generator)}
    return [[torch.randn(1, tokens, width, generator=generator), more]]


def wan_sizes(dim: int, hidden: int, layers: int) -> Architecture:
    """Wan 2.1's layers; hidden: width of the feed-forward."""
    whole = wan(dim, layers)
    return replace(whole, config={**whole.config, "ffn_dim": hidden})


def at_full_width(architecture: Architecture) -> Architecture:
    """SDXL's U-Nets with the channels of the published files."""
    return replace(architecture, config={**architecture.config, "channel_mult": [1, 2, 4]})


# --- Families --------------------------------------------------------------------------------------------------------


def starter(labels: str = "0, 1, 2, 3, 4, 5, 6, 7, 8, 9", steps: int = 20) -> Family:
    small, large = load_starter("S"), load_starter("XL")
    inputs = class_inputs(large, labels)
    latent = inputs.latent["samples"]
    patch = large.model.model_config.dit.patch
    tokens = latent.shape[-2] * latent.shape[-1] // patch**2
    return Family("starter S and XL", small, large, inputs.positive, inputs.negative, latent, tokens, 2.0, steps)


def dit(name: str, grid: int, sizes: tuple[tuple[int, int, int], ...], steps: int) -> Family:
    """sizes: depth, width and heads of the small and of the large one."""
    small, large = (dit_model(*size, grid, seed) for seed, size in enumerate(sizes, 1))
    inputs = class_inputs(large, "207")
    latent = torch.zeros(1, 4, 2 * grid, 2 * grid)
    return Family(name, small, large, inputs.positive, inputs.negative, latent, grid**2, 4.0, steps)


DIT_S, DIT_XL = (12, 384, 6), (28, 1152, 16)


def sdxl_like(name: str, architectures: Sequence[Architecture], side: int, cfg: float, steps: int) -> Family:
    """architectures: of the small and of the large one, or of one alone; side: of the latent."""
    models = [host_model(at_full_width(each), seed) for seed, each in enumerate(architectures, 1)]
    positive, negative = (text(77, 2048, 1280, seed) for seed in (11, 12))
    latent = torch.zeros(1, 4, side, side)
    return Family(name, models[0], models[-1], positive, negative, latent, side**2 // 4, cfg, steps)


def flux_like(width: int, sizes: tuple[tuple[int, int], ...], side: int, tokens: int, steps: int) -> Family:
    """sizes: double and single blocks of the small and of the large one, or of one alone; side: of the latent."""
    models = [host_model(flux(width, *size), seed) for seed, size in enumerate(sizes, 1)]
    positive, negative = (text(tokens, 4096, 768, seed) for seed in (11, 12))
    latent = torch.zeros(1, 16, side, side)
    name, count = f"Flux-like, {8 * side}", side**2 // 4 + tokens
    return Family(name, models[0], models[-1], positive, negative, latent, count, 1.0, steps)


def wan_like(sizes: tuple[tuple[int, int, int], ...], shape: tuple[int, int, int], tokens: int, steps: int) -> Family:
    """sizes: width, that of the feed-forward and layers of both, or of one alone; shape: of the latent."""
    models = [host_model(wan_sizes(*size), seed) for seed, size in enumerate(sizes, 1)]
    positive, negative = (text(tokens, 4096, None, seed) for seed in (11, 12))
    frames, height, width = shape
    count = frames * height * width // 4
    name = f"Wan-like, {8 * width} x {8 * height} x {4 * frames - 3}"
    return Family(name, models[0], models[-1], positive, negative, torch.zeros(1, 16, *shape), count, 1.0, steps)


REAL: dict[str, Callable[[], Family]] = {
    "starter": starter,
    "dit 256": lambda: dit("DiT-S/2 and DiT-XL/2, 256", 16, (DIT_S, DIT_XL), 20),
    "dit 512": lambda: dit("DiT-S/2 and DiT-XL/2, 512", 32, (DIT_S, DIT_XL), 20),
    "sdxl": lambda: sdxl_like("SSD-1B and SDXL, 1024", (ssd1b(), sdxl()), 128, 5.0, 8),
    "flux": lambda: flux_like(3072, ((2, 4), (4, 8)), 128, 512, 8),
    "wan": lambda: wan_like(((1536, 8960, 6), (5120, 13824, 4)), (21, 60, 104), 512, 4),
}
#: Of a CPU: SDXL has no toy, as its files tell it by its width.
TOYS: dict[str, Callable[[], Family]] = {
    "starter": lambda: starter("0", 3),
    "dit 256": lambda: dit("toy DiT", 4, ((1, 64, 1), (2, 128, 2)), 5),
    "wan": lambda: wan_like(((128, 128, 1), (256, 256, 1)), (2, 4, 4), 4, 4),
}


def families(dry: bool) -> dict[str, Callable[[], Family]]:
    return TOYS if dry else REAL
