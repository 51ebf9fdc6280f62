"""Thousands of pictures by the starter models, drawn with the pack's nodes and the host's, as a workflow would."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.host import host_nodes
from benchmarks.starter import checksum, weights_path
from tstitch.schedule import Schedule

CLASSES = 10
BATCH = 250


@dataclass(frozen=True)
class Setting:
    """One way to draw: which model takes which step, and the sampler's widgets."""

    models: tuple[str, ...]  # starter names in run order
    owners: tuple[int, ...]  # the model of each step
    sampler: str
    cfg: float | tuple[float, ...] = 1.0  # of all stages, or of each
    scheduler: str = "simple"
    chained: bool = False  # in one stock KSampler (Advanced) an interval, instead of in one loop
    seed: int = 0
    cache: float = 0.0  # the threshold of EasyCache on the finishing model; 0 is none

    @property
    def steps(self) -> int:
        return len(self.owners)

    @property
    def pattern(self) -> str:
        return Schedule(self.owners).pattern

    @property
    def run(self) -> str:
        """All that its time depends on, readable."""
        words = [
            "\N{RIGHTWARDS ARROW}".join(self.models),
            self.pattern,
            self.sampler,
            self.scheduler,
            f"cfg {self.cfgs}",
        ]
        words += ["chained"] if self.chained else []
        words += [f"EasyCache {self.cache:g}"] if self.cache else []
        return " ".join(words)

    @property
    def title(self) -> str:
        """Readable and complete, so that it can name a row of results."""
        return f"{self.run} seed {self.seed}"

    @property
    def cfgs(self) -> str:
        return ", ".join(f"{cfg:g}" for cfg in (self.cfg if isinstance(self.cfg, tuple) else (self.cfg,)))


class Drawing(NamedTuple):
    """What was drawn and what it took."""

    pixels: Tensor  # signals (N, 1, 28, 28)
    labels: Tensor  # (N,), as many of each class
    seconds: float  # of sampling, in bfloat16
    calls: dict[str, float]  # passes of a picture through each model


def first_steps(small: str, large: str, fraction: float, steps: int, sampler: str, **more: Any) -> Setting:
    """`small` takes round(fraction * steps) steps, halves up, and `large` the rest."""
    first = int(fraction * steps + 0.5)
    if first in (0, steps):
        return Setting(((large,) if first == 0 else (small,)), (0,) * steps, sampler, **more)
    return Setting((small, large), (0,) * first + (1,) * (steps - first), sampler, **more)


def marks(models: tuple[str, ...]) -> str:
    """The start of the checksum of every weight file in use."""
    return " ".join(checksum(weights_path(name))[:8] for name in ("vae", *dict.fromkeys(models)))


def joined(nodes: dict[str, Any], models: Sequence[Any], pattern: str, memory: str) -> Any:
    """One MODEL of those in run order, by Multi-Model Schedule."""
    *others, last = models
    numbered = {f"model_{number}": model for number, model in enumerate(others, 1)}
    node = nodes["TStitchModelSchedule"]
    return node.execute(last, splits="", unit="steps", pattern=pattern, memory=memory, **numbered).result[0]


class Studio:
    """The starter models, loaded once."""

    def __init__(self) -> None:
        self.nodes = host_nodes("nodes_easycache")
        self.models: dict[str, Any] = {}
        self.passes: Counter[str] = Counter()  # rows that went through each model
        self.vae = self.nodes["TStitchLoadStarter"].execute("S", "0").result[1]

    def model(self, name: str) -> Any:
        if name not in self.models:
            model = self.nodes["TStitchLoadStarter"].execute(name, "0").result[0]
            embedder = model.model.diffusion_model.x_embedder
            embedder.register_forward_pre_hook(lambda _, rows: self.passes.update({name: len(rows[0])}))
            self.models[name] = model
        return self.models[name]

    def draw(self, setting: Setting, samples: int) -> Drawing:
        """Batch k has seed 1000 * seed + k, so that every setting of one seed starts from the same noise."""
        self.passes.clear()
        labels = torch.arange(samples) % CLASSES
        pixels, seconds = [], 0.0
        for number, part in enumerate(
            tqdm(labels.split(BATCH), desc=setting.title, unit="batch", leave=False, mininterval=5)
        ):
            started = time.perf_counter()
            latent = self.sample(setting, part, 1000 * setting.seed + number)
            seconds += time.perf_counter() - started
            with torch.inference_mode():
                (image,) = self.nodes["VAEDecode"]().decode(self.vae, latent)  # (N, 28, 28, 3) in [0, 1]
            signal = (image.mean(dim=-1)[:, None] * 255).round() / 127.5 - 1
            pixels.append(signal.clone())
        calls = {name: round(rows / samples, 3) for name, rows in self.passes.items()}
        return Drawing(torch.cat(pixels), labels, seconds, calls)

    @torch.inference_mode()
    @torch.autocast("cpu", torch.bfloat16)
    def sample(self, setting: Setting, labels: Tensor, seed: int) -> Any:
        """LATENT of one batch, with `labels` (N,) as its classes."""
        models = [self.model(name) for name in setting.models]
        if setting.cache:
            models[-1] = self.nodes["EasyCache"].execute(models[-1], setting.cache, 0.15, 0.95, False).result[0]
        text = ", ".join(map(str, labels.tolist()))
        no_class = self.nodes["TStitchClassLabel"].GET_SCHEMA().inputs[2].options[0]
        positive, negative, latent = self.nodes["TStitchClassLabel"].execute(models[-1], text, no_class).result
        conds = {"positive": positive, "negative": negative}
        if isinstance(setting.cfg, tuple):
            return self._guide(setting, models, setting.cfg, latent, seed, conds)
        widgets = {"steps": setting.steps, "cfg": setting.cfg, "sampler_name": setting.sampler}
        widgets["scheduler"] = setting.scheduler
        if setting.chained:
            return self._chain(setting, models, latent, seed, {**conds, **widgets})
        model = models[0] if len(models) == 1 else joined(self.nodes, models, setting.pattern, "keep")
        return self.nodes["KSampler"]().sample(model, seed, latent_image=latent, **conds, **widgets)[0]

    def _guide(
        self,
        setting: Setting,
        models: list[Any],
        cfgs: tuple[float, ...],
        latent: Any,
        seed: int,
        conds: dict[str, Any],
    ) -> Any:
        """One guider a stage, each with its own cfg, as nodes for custom sampling join them."""
        import comfy.sample
        import comfy.samplers

        guiders = []
        for model, cfg in zip(models, cfgs, strict=True):
            guiders.append(comfy.samplers.CFGGuider(model))
            guiders[-1].set_conds(**conds)
            guiders[-1].set_cfg(cfg)
        others = {f"guider_{number}": other for number, other in enumerate(guiders[:-1], 1)}
        join = self.nodes["TStitchGuiders"].execute
        guider = join(guiders[-1], splits="", unit="steps", pattern=setting.pattern, memory="keep", **others).result[0]
        sampling = models[-1].get_model_object("model_sampling")
        sigmas = comfy.samplers.calculate_sigmas(sampling, setting.scheduler, setting.steps)
        noise = comfy.sample.prepare_noise(latent["samples"], seed)
        solver = comfy.samplers.sampler_object(setting.sampler)
        samples = guider.sample(noise, latent["samples"], solver, sigmas, disable_pbar=True, seed=seed)
        return {**latent, "samples": samples}

    def _chain(self, setting: Setting, models: list[Any], latent: Any, seed: int, inputs: dict[str, Any]) -> Any:
        """What people do without this pack: one KSampler (Advanced) an interval, handing the noise on."""
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
