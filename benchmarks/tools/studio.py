"""Thousands of pictures by the starter models, drawn with the pack's nodes and the host's, as a workflow would."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from benchmarks.tools.classifier import load_classifier
from benchmarks.tools.host import host_nodes
from benchmarks.tools.judge import Judge
from benchmarks.tools.settings import LATENT, Guide, Part, Setting
from benchmarks.tools.starter import flops, load_vae, weights_path
from benchmarks.tools.timing import keep_freed_memory
from training.data import SIZE, STYLES
from training.device import autocast
from training.loop import CHECKPOINTS
from tstitch.schedule import Schedule

BATCH = 250
EXTRAS = ("nodes_easycache", "nodes_model_advanced", "nodes_custom_sampler")


class Drawing(NamedTuple):
    """What was drawn and what it took."""

    pixels: Tensor  # signals (N, 3, 64, 64)
    labels: Tensor  # (N,), as many of each style
    seconds: float  # of sampling
    calls: dict[str, float]  # passes of a picture through each model, with its size where that is not the run's
    flops: float  # of these passes, per picture


def weights_of(setting: Setting) -> list[str]:
    """Every weight file in use but the VAE, as `path_of` reads them."""
    guides = [guide for guide in (setting.guide, *(part.guide for part in setting.parts)) if guide is not None]
    parts = [*setting.parts, *(guide.weak for guide in guides)]
    return list(dict.fromkeys(part.file or part.model for part in parts))


def path_of(weights: str) -> Path:
    """Of a bundled model by its name, or of a file of `.train`."""
    return CHECKPOINTS / weights if weights.endswith(".safetensors") else weights_path(weights)


def joined(nodes: dict[str, Any], models: Sequence[Any], pattern: str, memory: str) -> Any:
    """One MODEL of those in run order, by Multi-Model Schedule."""
    *others, last = models
    numbered = {f"model_{number}": model for number, model in enumerate(others, 1)}
    node = nodes["TStitchModelSchedule"]
    return node.execute(last, splits="", unit="steps", pattern=pattern, memory=memory, **numbered).result[0]


class Studio:
    """The starter models, loaded once."""

    def __init__(self, nodes: dict[str, Any] | None = None) -> None:
        """`nodes`: the node classes of a host that runs already."""
        self.nodes = nodes or host_nodes(*EXTRAS)
        keep_freed_memory()  # drawing is twice as fast
        import folder_paths

        folder_paths.add_model_folder_path("diffusion_models", str(CHECKPOINTS.resolve()))
        self.models: dict[Part, Any] = {}
        self.passes: Counter[tuple[Part, int]] = Counter()  # pictures that went through each model, by their side
        self.skips: Counter[Part] = Counter()  # blocks of a picture that were left out, at the starters' own size
        self.vae = self.nodes["TStitchLoadStarter"].execute("S", "0").result[1]

    def draw(self, setting: Setting, samples: int) -> Drawing:
        """Batch k has seed 1000 * seed + k, so that every setting of one seed starts from the same noise."""
        self.passes.clear()
        self.skips.clear()
        labels = torch.arange(samples) % len(STYLES)
        pixels, seconds = [], 0.0
        bar = tqdm(labels.split(BATCH), desc=setting.title, unit="batch", leave=False, mininterval=5)
        for number, part in enumerate(bar):
            started = time.perf_counter()
            latent = self.sample(setting, part, 1000 * setting.seed + number)
            seconds += time.perf_counter() - started
            pixels.append(self.decoded(latent))
        calls = {called(part, side, setting.side): round(n / samples, 3) for (part, side), n in self.passes.items()}
        total = sum(n * flops(path_of(part.file or part.model), side) for (part, side), n in self.passes.items())
        for part, n in self.skips.items():
            path = path_of(part.file or part.model)
            total -= n * (flops(path, LATENT) - flops(path, LATENT, skipped=1))
        return Drawing(torch.cat(pixels), labels, seconds, calls, total / samples)

    @torch.inference_mode()
    def decoded(self, latent: Any) -> Tensor:
        """Signals (N, 3, 64, 64) of the 256 levels of an image file; larger pictures by averages."""
        (image,) = self.nodes["VAEDecode"]().decode(self.vae, latent)  # (N, H, W, 3) in [0, 1]
        signal = (image.permute(0, 3, 1, 2) * 255).round() / 127.5 - 1
        return F.interpolate(signal, (SIZE, SIZE), mode="area").clone()

    @torch.inference_mode()
    def sample(self, setting: Setting, labels: Tensor, seed: int) -> Any:
        """LATENT of one batch, with `labels` (N,) as its styles."""
        with LIFTS[setting.lift](self.nodes):
            return self._sample(setting, labels, seed)

    def _sample(self, setting: Setting, labels: Tensor, seed: int) -> Any:
        models = [self.model(part, setting.shift) for part in setting.parts]
        if setting.cache:
            models[-1] = self._cached(models[-1], setting.cache)
        text = ", ".join(map(str, labels.tolist()))
        no_class = self.nodes["TStitchClassLabel"].GET_SCHEMA().inputs[2].options[0]
        positive, negative, latent = self.nodes["TStitchClassLabel"].execute(models[-1], text, no_class).result
        if setting.side != LATENT:
            latent = {"samples": latent["samples"].new_zeros(len(labels), 4, setting.side, setting.side)}
        inputs = {"positive": positive, "negative": negative, "steps": setting.steps, "cfg": setting.cfg}
        inputs |= {"sampler_name": setting.sampler, "scheduler": setting.scheduler}
        if setting.chained:
            return self._chain(setting, models, latent, seed, inputs)
        model = models[0] if len(models) == 1 else joined(self.nodes, models, setting.pattern, "keep")
        if setting.guide is not None:
            model = self._guided(model, setting.guide, setting.shift)
        if setting.levels:
            return self._along(setting, model, positive, negative, latent, seed)
        return self.nodes["KSampler"]().sample(model, seed, latent_image=latent, **inputs)[0]

    def model(self, part: Part, shift: float | None = None) -> Any:
        """A MODEL of `part`; the weights are loaded once."""
        whole = Part(part.model, file=part.file)
        if whole not in self.models:
            self.models[whole] = self._load(whole)
        model = self.models[whole]
        if shift is not None:
            (model,) = self.nodes["ModelSamplingSD3"]().patch(model, shift)
        if part.skipped is not None:
            model = self._without_block(model, whole, part.skipped)
        if part.scale != 1:
            (model,) = self.nodes["TStitchLowResolution"].execute(model, part.scale).result
        return model if part.guide is None else self._guided(model, part.guide, shift)

    def _load(self, part: Part) -> Any:
        """The network runs in bfloat16, everything around it in float32; its passes are counted."""
        if part.file:
            model = self.nodes["TStitchLoadDiT"].execute(part.file, "auto", "auto", "default", 0).result[0]
        else:
            model = self.nodes["TStitchLoadStarter"].execute(part.model, "0").result[0]
        network = model.model.diffusion_model
        network.forward = autocast()(network.forward)
        network.x_embedder.register_forward_pre_hook(
            lambda _, args: self.passes.update({(part, args[0].shape[-1]): len(args[0])})
        )
        return model

    def _without_block(self, model: Any, whole: Part, index: int) -> Any:
        def skip(args: dict[str, Any], _: Any) -> dict[str, Any]:
            self.skips[whole] += len(args["img"])
            return args

        model = model.clone()
        model.set_model_patch_replace(skip, "dit", "double_block", index)
        return model

    def _cached(self, model: Any, name: str) -> Any:
        return self.nodes[name].execute(model, 0.2, 0.15, 0.95, False).result[0]  # as the node's widgets are

    def _guided(self, model: Any, guide: Guide, shift: float | None) -> Any:
        node, weak = self.nodes["TStitchGuidance"], self.model(guide.weak, shift)
        return node.execute(model, weak, guide.mode, guide.start, guide.end, "keep").result[0]

    def _along(self, setting: Setting, model: Any, positive: Any, negative: Any, latent: Any, seed: int) -> Any:
        """Over the setting's own levels."""
        sampler, levels = self.nodes["KSamplerSelect"].execute(setting.sampler).result[0], torch.tensor(setting.levels)
        custom = self.nodes["SamplerCustom"]
        return custom.execute(model, True, seed, setting.cfg, positive, negative, sampler, levels, latent).result[0]

    def _chain(self, setting: Setting, models: list[Any], latent: Any, seed: int, inputs: dict[str, Any]) -> Any:
        """What people do without this pack: one KSampler (Advanced) per interval, handing the noise on."""
        node = self.nodes["KSamplerAdvanced"]()
        intervals = Schedule(setting.owners).intervals
        for interval in intervals:
            (latent,) = node.sample(
                models[interval.stage],
                add_noise="enable" if interval.start == 0 else "disable",
                noise_seed=seed,
                latent_image=latent,
                start_at_step=interval.start,
                end_at_step=interval.stop,
                return_with_leftover_noise="disable" if interval is intervals[-1] else "enable",
                **inputs,
            )
        return latent


def called(part: Part, side: int, run_side: int) -> str:
    """A model and, where it is not the run's own, the size it was asked at."""
    return part.model if side == run_side else f"{part.model} {side / run_side:g}x"


@contextmanager
def as_it_is(_: dict[str, Any]) -> Iterator[None]:
    yield


@contextmanager
def without_gain(nodes: dict[str, Any]) -> Iterator[None]:
    """Leave the detail that the small latent lacks empty, as arXiv 2605.18736 does."""
    scaling = scaling_class(nodes)
    own = scaling.up
    with replaced(scaling, up=lambda self, y, noisy=None, ratio=0.0: own(self, y)):
        yield


@contextmanager
def by_averages(nodes: dict[str, Any]) -> Iterator[None]:
    """Averages of 2 x 2 latent pixels down, and each of them repeated on the way up; for a scale of 0.5."""

    def down(self: Any, spectrum: Tensor) -> Tensor:
        return F.avg_pool2d(self.rows.T @ spectrum @ self.columns, 2)

    def up(self: Any, y: Tensor, noisy: Tensor | None = None, ratio: float = 0.0) -> Tensor:
        return F.interpolate(y, self.full, mode="nearest")

    with replaced(scaling_class(nodes), down=down, up=up):
        yield


#: Ways to bring answers of a smaller size up, by the word that names them in a row.
LIFTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "": as_it_is,
    "without gain": without_gain,
    "by averages": by_averages,
}


def scaling_class(nodes: dict[str, Any]) -> Any:
    """Of the pack as the host has loaded it."""
    package = nodes["TStitchLowResolution"].__module__.rpartition(".nodes.")[0]
    return sys.modules[f"{package}.tstitch.resolution.scaling"].Scaling


@contextmanager
def replaced(owner: Any, **functions: Any) -> Iterator[None]:
    own = {name: getattr(owner, name) for name in functions}
    try:
        for name, function in functions.items():
            setattr(owner, name, function)
        yield
    finally:
        for name, function in own.items():
            setattr(owner, name, function)


@cache
def studio() -> Studio:
    """One for all benchmarks of a process."""
    return Studio()


@cache
def judge() -> Judge:
    return Judge(load_classifier(), load_vae())
