"""Thousands of pictures by the starter models, drawn with the pack's nodes and the host's, as a workflow would."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

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
    cfg: float = 1.0
    scheduler: str = "simple"
    chained: bool = False  # in one stock KSampler (Advanced) an interval, instead of in one loop
    seed: int = 0

    @property
    def steps(self) -> int:
        return len(self.owners)

    @property
    def pattern(self) -> str:
        return Schedule(self.owners).pattern

    @property
    def title(self) -> str:
        """Readable and complete, so that it can name a row of results."""
        words = [
            "\N{RIGHTWARDS ARROW}".join(self.models),
            self.pattern,
            self.sampler,
            self.scheduler,
            f"cfg {self.cfg:g}",
        ]
        return " ".join([*words, *(["chained"] if self.chained else []), f"seed {self.seed}"])


def first_steps(small: str, large: str, fraction: float, steps: int, sampler: str, **more: Any) -> Setting:
    """`small` takes round(fraction * steps) steps, halves up, and `large` the rest."""
    first = int(fraction * steps + 0.5)
    if first in (0, steps):
        return Setting(((large,) if first == 0 else (small,)), (0,) * steps, sampler, **more)
    return Setting((small, large), (0,) * first + (1,) * (steps - first), sampler, **more)


def marks(models: tuple[str, ...]) -> str:
    """The start of the checksum of every weight file in use."""
    return " ".join(checksum(weights_path(name))[:8] for name in ("vae", *dict.fromkeys(models)))


class Studio:
    """The starter models, loaded once."""

    def __init__(self) -> None:
        self.nodes = host_nodes()
        self.models: dict[str, Any] = {}
        self.vae = self.nodes["TStitchLoadStarter"].execute("S", "0").result[1]

    def model(self, name: str) -> Any:
        if name not in self.models:
            self.models[name] = self.nodes["TStitchLoadStarter"].execute(name, "0").result[0]
        return self.models[name]

    def draw(self, setting: Setting, samples: int) -> tuple[Tensor, Tensor, float]:
        """Signals (N, 1, 28, 28) and labels (N,), as many of each class, and seconds of sampling in bfloat16.

        Batch k has seed 1000 * seed + k, so that every setting of one seed starts from the same noise.
        """
        labels = torch.arange(samples) % CLASSES
        pixels, seconds = [], 0.0
        for number, part in enumerate(
            tqdm(labels.split(BATCH), desc=setting.title, unit="batch", leave=False, mininterval=5)
        ):
            started = time.perf_counter()
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
                latent = self._sample(setting, part, 1000 * setting.seed + number)
            seconds += time.perf_counter() - started
            with torch.inference_mode():
                (image,) = self.nodes["VAEDecode"]().decode(self.vae, latent)  # (N, 28, 28, 3) in [0, 1]
            signal = (image.mean(dim=-1)[:, None] * 255).round() / 127.5 - 1
            pixels.append(signal.clone())
        return torch.cat(pixels), labels, seconds

    def _sample(self, setting: Setting, labels: Tensor, seed: int) -> Any:
        models = [self.model(name) for name in setting.models]
        text = ", ".join(map(str, labels.tolist()))
        no_class = self.nodes["TStitchClassLabel"].GET_SCHEMA().inputs[2].options[0]
        positive, negative, latent = self.nodes["TStitchClassLabel"].execute(models[-1], text, no_class).result
        conds = {"positive": positive, "negative": negative}
        widgets = {"steps": setting.steps, "cfg": setting.cfg, "sampler_name": setting.sampler}
        widgets["scheduler"] = setting.scheduler
        if setting.chained:
            return self._chain(setting, models, latent, seed, {**conds, **widgets})
        model = models[0]
        if len(models) > 1:
            others = {f"model_{number}": other for number, other in enumerate(models[:-1], 1)}
            join = self.nodes["TStitchModelSchedule"]
            model = join.execute(models[-1], splits="", unit="steps", pattern=setting.pattern, memory="keep", **others)
            model = model.result[0]
        return self.nodes["KSampler"]().sample(model, seed, latent_image=latent, **conds, **widgets)[0]

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
