"""Measures the time per step of each model on this machine, in a run of the host's own sampler."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, quantiles
from typing import Any

import comfy.cli_args
import comfy.ldm.modules.attention
import comfy.model_management as mm
import comfy.sample
import comfy.samplers
import comfyui_version
import folder_paths
import torch
from torch import Tensor

from ...checks.compatibility import check_latent_channels, check_run, parts_of
from ...checks.inputs import check_latent, check_model
from ...host.conditioning import controls_of
from ...host.devices import synchronize
from ...host.latents import pack_nested, samples_for
from ...host.memory import fits_together, unload_model
from ...stitch.model import ModelStage
from ..identity import model_identity, model_name
from ..records import ModelMark
from .record import ModelTiming, Profile, read_timing, write_timing

WARM_UP = 2  # steps at the start of a run that are not timed
SEED = 0
FAR_OUT = 3  # interquartile ranges above the upper quartile: Tukey's outer fence


@dataclass(frozen=True)
class ProfileJob:
    """The models to profile, by input name in run order, the finishing model last."""

    stages: dict[str, ModelStage]
    latent: dict[str, Any]
    repeats: int

    def check(self) -> None:
        """Raise StitchError for an input of the wrong type, or models that cannot share a run."""
        for name, stage in self.stages.items():
            check_model(name, stage.model)
        check_latent("latent_image", self.latent)
        parts = parts_of(tuple(self.stages), [stage.plain_guider() for stage in self.stages.values()])
        for part in parts:
            check_latent_channels(self.samples(part.model), part.name, part.latent_format)
        check_run(parts, self.samples(parts[-1].model))

    @property
    def steps_a_model(self) -> int:
        return WARM_UP + self.repeats

    def samples(self, model: Any) -> Tensor:
        return samples_for(model, self.latent)


def profile_models(job: ProfileJob, refresh: bool, on_step: Callable[[], None]) -> Profile:
    """Measure each model of `job`, or reuse an earlier measurement with the same settings.

    refresh: always measure; on_step: called after every step, and may raise to stop. Raises StitchError.
    """
    job.check()
    folder = cache_folder()
    marks, timings = [], []
    for stage in job.stages.values():
        mark = ModelMark(model_name(stage.model), model_identity(stage.model))
        key = setting_key(job, stage, mark.identity)
        timing = None if refresh else read_timing(folder, key)
        if timing is None or timing.repeats < job.repeats:
            timing = time_model(job, stage, on_step)
            write_timing(folder, key, timing)
        else:
            for _ in range(job.steps_a_model):
                on_step()
        marks.append(mark)
        timings.append(timing)
    models = [stage.model for stage in job.stages.values()]
    conds = [stage.plain_guider().original_conds for stage in job.stages.values()]
    samples = job.samples(models[-1])
    return Profile(
        tuple(marks),
        tuple(timings),
        device=device_name(models[-1].load_device),
        latent_shape=tuple(samples.shape),
        guided=tuple(map(is_guided, job.stages.values())),
        together=fits_together(models, conds, pack_nested(samples).shape),
        given_shape=tuple(job.latent["samples"].shape),
    )


def is_guided(stage: ModelStage) -> bool:
    """Whether the host calls the model on the negative conditioning too."""
    return stage.cfg is None or abs(stage.cfg - 1.0) > 1e-6


def time_model(job: ProfileJob, stage: ModelStage, on_step: Callable[[], None]) -> ModelTiming:
    """One run of the host's euler sampler, timed step by step after the warm-up."""
    model, device = stage.model, stage.model.load_device
    load = load_seconds(model, job.samples(model).shape)
    samples = job.samples(model)
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", job.steps_a_model)
    memory = PeakMemory(model)

    def run(levels: Tensor, after_step: Callable[[], None]) -> TimedSampler:
        sampler = TimedSampler(comfy.samplers.sampler_object("euler"), device)
        sampler.run(stage.plain_guider(), samples, levels, after_step)
        return sampler

    steps = run(sigmas, on_step).steps[WARM_UP:]
    low, _, high = quantiles(steps, n=4) if len(steps) > 1 else steps * 3
    fence = high + FAR_OUT * (high - low)
    usual = mean(seconds for seconds in steps if seconds <= fence)
    again = run(sigmas[-2:], lambda: None)  # one step; the first run after a load does some things once
    return ModelTiming(
        step=median(steps),
        mean=usual,
        spread=high - low,
        setup=max(again.seconds - usual, again.seconds - sum(again.steps)),
        load=load,
        peak_bytes=memory.peak(),
        repeats=job.repeats,
    )


class TimedSampler:
    """The host's sampler, with the time of each step and of the whole run."""

    def __init__(self, sampler: Any, device: torch.device) -> None:
        self._sampler, self._device = sampler, device
        self._since = 0.0
        self.steps: list[float] = []
        self.seconds = 0.0  # noise, set-up and clean-up included

    def run(self, guider: Any, latent: Tensor, sigmas: Tensor, after_step: Callable[[], None]) -> None:
        def callback(step: int, denoised: Tensor, x: Tensor, total_steps: int) -> None:
            now = self._now()
            self.steps.append(now - self._since)
            after_step()
            self._since = time.perf_counter()

        started = self._now()
        noise = comfy.sample.prepare_noise(latent, SEED)
        guider.sample(noise, latent, self, sigmas, callback=callback, disable_pbar=True, seed=SEED)
        self.seconds = self._now() - started

    def sample(self, *args: Any, **kwargs: Any) -> Tensor:
        self._since = self._now()
        return self._sampler.sample(*args, **kwargs)

    def _now(self) -> float:
        synchronize(self._device)
        return time.perf_counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sampler, name)


class PeakMemory:
    """Peak device memory of a loaded model since this object was made, if PyTorch counts it.

    Memory used by others at that time, such as text encoders, is subtracted.
    """

    def __init__(self, model: Any) -> None:
        self._device = model.load_device
        counter = getattr(torch, self._device.type, None)
        self._counter: Any = counter if hasattr(counter, "reset_peak_memory_stats") else None
        if self._counter is not None:
            self._others = self._counter.memory_allocated(self._device) - model.loaded_size()
            self._counter.reset_peak_memory_stats(self._device)

    def peak(self) -> int | None:
        if self._counter is None:
            return None
        return max(0, int(self._counter.max_memory_allocated(self._device)) - self._others)


def load_seconds(model: Any, latent_shape: Sequence[int]) -> float:
    """Seconds from the offload device to a model that is ready to run, its patches applied, by the host's rules."""
    unload_model(model)
    synchronize(model.load_device)
    started = time.perf_counter()
    mm.load_models_gpu([model], memory_required=model.memory_required([2 * latent_shape[0], *latent_shape[1:]]))
    synchronize(model.load_device)
    return time.perf_counter() - started


def device_name(device: torch.device) -> str:
    if device.type != "cpu":
        return str(mm.get_torch_device_name(device))
    return f"cpu {platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"


def setting_key(job: ProfileJob, stage: ModelStage, identity: str) -> dict[str, Any]:
    """Everything that changes the time per step."""
    model, guided = stage.model, is_guided(stage)
    return {
        "model": identity,
        "dtype": str(model.model_dtype()),
        "compute dtype": str(model.get_model_object("manual_cast_dtype")),
        "device": device_name(model.load_device),
        "memory mode": mm.vram_state.name,
        "fast": sorted(map(str, comfy.cli_args.args.fast)),
        "attention": comfy.ldm.modules.attention.optimized_attention.__name__,
        "latent": list(job.samples(model).shape),
        "guided": guided,
        "conditioning": [conditioning_key(kind) for kind in (stage.positive, stage.negative)[: 1 + guided]],
        "host": comfyui_version.__version__,
        "torch": torch.__version__,
    }


def conditioning_key(entries: Any) -> list[Any]:
    """Lengths of the texts, and what else is attached (ControlNets, reference images, an area, hooks)."""
    return [
        [list(getattr(text, "shape", ())), {str(key): attachment_key(value) for key, value in extra.items()}]
        for text, extra in entries
    ]


def attachment_key(value: Any) -> list[Any]:
    """Sizes of tensors, kinds and sizes of ControlNets."""
    if isinstance(value, (list, tuple)):
        return [attachment_key(item) for item in value]
    if hasattr(value, "previous_controlnet"):
        kinds = [type(control).__name__ for control in controls_of({"": [{"control": value}]})]
        return [kinds, [model.model_size() for model in value.get_models()]]
    return list(getattr(value, "shape", ()))


def cache_folder() -> Path:
    return Path(folder_paths.get_user_directory()) / "tstitch" / "profiles"
