"""Measures a calibration with the host's own guiders, with one model at a time on the device.

The base model samples once per seed; inputs and predictions are kept in RAM. Every other model then predicts from the
same inputs.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import comfy.model_management as mm
import comfy.sample
import latent_preview
import torch
from comfy.samplers import KSampler, sampler_object
from torch import Tensor

from ...checks.compatibility import check_run, parts_of
from ...checks.inputs import check_conditioning, check_latent, check_model, check_single_latent
from ...errors import StitchError
from ...host.latents import samples_for
from ...host.noise_levels import Conversion, Mixing, conversion
from ...schedule import LEVEL_TOLERANCE, Trajectory
from ...stitch.model import ModelStage, joined_spec
from ...trajectory import check_sampler, check_sigmas, read_trajectory
from ...views.similarity import Spectrum, cosine_similarity, norms, relative_error, spectrum
from ..identity import model_identity, model_name
from ..records import ModelMark
from .record import Calibration, Rows

OWN_SIGMAS = "own sigmas"  # in place of a scheduler's name


@dataclass(frozen=True)
class Settings:
    """How the base model samples, as in a KSampler."""

    seed: int  # of the first run; the others count up from it
    seeds: int  # number of runs
    steps: int
    cfg: float
    sampler_name: str
    scheduler: str
    sigmas: Tensor | None = None  # in place of steps and scheduler

    def __post_init__(self) -> None:
        if self.sigmas is not None:
            check_sigmas("sigmas", self.sigmas)
        for name, least in (("seeds", 1), ("steps", 1)):
            if getattr(self, name) < least:
                raise StitchError(f"{name} must be {least} or more to calibrate, got {getattr(self, name)}.")


class Point(NamedTuple):
    """Input and prediction of the base model at the start of a step, in RAM."""

    sigma: float
    x: Tensor
    denoised: Tensor  # 0 where a mask keeps the latent image
    noise_scale: Tensor  # (N,) norm of its noise prediction eps over the weight of the image, for x = a x0 + b noise


class Recorder:
    """The denoiser the sampler calls: keeps the last call at each of `levels`.

    A second-order solver calls at the end of a step too; the call that begins the next step comes after it. SDE
    samplers begin a flow model a little below t = 1, where the logarithm of its signal-to-noise ratio is finite.
    """

    def __init__(self, predict: Any, levels: Sequence[float], mixing: Mixing, mask: Tensor | None) -> None:
        self._predict, self._levels, self._mixing, self._mask = predict, levels, mixing, mask
        self._begun = False
        self.points: dict[int, Point] = {}

    def __call__(self, x: Tensor, sigma: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        denoised = self._predict(x, sigma, *args, **kwargs)
        level = float(sigma.reshape(-1)[0])
        if not self._begun and (*self._levels, 0.0)[1] < level < self._levels[0]:
            self.points[0] = self._point(level, x, denoised)
        self._begun = True
        for index, start in enumerate(self._levels):
            if math.isclose(level, start, rel_tol=LEVEL_TOLERANCE):
                self.points[index] = self._point(level, x, denoised)
        return denoised

    def _point(self, level: float, x: Tensor, denoised: Tensor) -> Point:
        signal, _ = self._mixing.at(level)
        noise = norms(_kept(x - signal * denoised, self._mask))
        scale = noise / signal if signal else torch.full_like(noise, math.inf)
        return Point(level, _kept(x), _kept(denoised, self._mask), scale)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._predict, name)


class RecordingSampler:
    """The real sampler, with its model calls recorded."""

    def __init__(self, sampler: Any, levels: Sequence[float], mixing: Mixing) -> None:
        self._sampler, self._levels, self._mixing = sampler, levels, mixing
        self.points: dict[int, Point] = {}  # by the index of the level

    def sample(
        self,
        model_wrap: Any,
        sigmas: Tensor,
        extra_args: dict[str, Any],
        callback: Any,
        noise: Tensor,
        latent_image: Tensor | None = None,
        denoise_mask: Tensor | None = None,
        disable_pbar: bool = False,
    ) -> Tensor:
        recorder = Recorder(model_wrap, self._levels, self._mixing, denoise_mask)
        self.points = recorder.points
        return self._sampler.sample(
            recorder, sigmas, extra_args, callback, noise, latent_image, denoise_mask, disable_pbar
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sampler, name)


class ReplaySampler:
    """Replaces the sampler of a model: predicts from the recorded inputs."""

    def __init__(
        self,
        points: Sequence[Point],
        to_model: Conversion | None,
        answer: Callable[[int, Tensor, Point], None],
        callback: Callable[[Tensor, Tensor], None],
    ) -> None:
        self._points, self._to_model, self._answer, self._callback = points, to_model, answer, callback

    def sample(
        self,
        model_wrap: Any,
        sigmas: Tensor,
        extra_args: dict[str, Any],
        callback: Any,
        noise: Tensor,
        latent_image: Tensor | None = None,
        denoise_mask: Tensor | None = None,
        disable_pbar: bool = False,
    ) -> Tensor:
        for step, point in enumerate(self._points):
            level, x = point.sigma, point.x.to(noise.device)
            if self._to_model is not None:
                level, factor = self._to_model(level)
                x = x * factor
            denoised = model_wrap(x, x.new_full((len(x),), level), **extra_args)
            self._answer(step, _kept(denoised, denoise_mask), point)
            self._callback(denoised, x)
        return noise  # nobody reads the samples of this run


class Progress:
    """One progress bar, with previews, over the steps of all runs; also raises interrupts."""

    def __init__(self, model: Any, total: int) -> None:
        self._callback, self._total, self._done = latent_preview.prepare_callback(model, total), total, 0

    def step(self, x0: Tensor, x: Tensor) -> None:
        mm.throw_exception_if_processing_interrupted()
        self._callback(self._done, x0, x, self._total)
        self._done += 1

    def sampling_callback(self, step: int, x0: Tensor, x: Tensor, total_steps: int) -> None:
        self.step(x0, x)


class Tally:
    """The samples of one model, step by step."""

    def __init__(self, name: str, steps: int) -> None:
        self._name = name
        self.relative_error: list[list[float]] = [[] for _ in range(steps)]
        self.cosine: list[list[float]] = [[] for _ in range(steps)]
        self.noise_error: list[list[float]] = [[] for _ in range(steps)]
        self.spectra: list[list[Spectrum]] = [[] for _ in range(steps)]

    def add(self, step: int, found: Tensor, point: Point) -> None:
        if not bool(found.isfinite().all()):
            raise StitchError(
                f"{self._name} predicts values that are no numbers (NaN or infinite) in step {step + 1}: load it in"
                " another precision, or check that prompt and latent belong to it."
            )
        self.relative_error[step] += relative_error(found, point.denoised).tolist()
        self.cosine[step] += cosine_similarity(found, point.denoised).tolist()
        difference = norms(found.double() - point.denoised.double())
        self.noise_error[step] += (difference / point.noise_scale.clamp_min(1e-12)).tolist()
        self.spectra[step].append(spectrum(found))

    def log_amplitude(self) -> Rows:
        return tuple(
            tuple(torch.cat([found.log_amplitude for found in step]).mean(dim=0).tolist()) for step in self.spectra
        )


def calibrate(
    names: Sequence[str], parts: Sequence[ModelStage], latent: dict[str, Any], settings: Settings
) -> Calibration:
    """Measure all models of `parts`, in run order with the base model last, on the base model's trajectory.

    names: of the inputs, for messages. latent: the host's LATENT; its batch and that of the conditioning count as
    samples. Raises StitchError before anything is loaded if the models cannot be compared.
    """
    check_inputs(names, parts, latent)
    guiders = [part.plain_guider(settings.cfg) for part in parts]
    latent_image = samples_for(parts[-1].model, latent)
    check_run(parts_of(names, guiders), latent_image)
    calibrator = Calibrator(names, guiders, {**latent, "samples": latent_image}, settings)
    calibrator.run_base()
    for index in range(len(guiders) - 1):
        calibrator.replay(index)
    return calibrator.result()


class Calibrator:
    """One calibration in the making; the guiders are in run order, the base model's last."""

    def __init__(
        self, names: Sequence[str], guiders: Sequence[Any], latent: dict[str, Any], settings: Settings
    ) -> None:
        self._names, self._guiders, self._latent, self._settings = names, guiders, latent, settings
        base = guiders[-1].model_patcher
        self._sigmas = sigmas_of(base, settings)
        self._sampling = base.get_model_object("model_sampling")
        trajectory = read_trajectory(self._sigmas, self._sampling)
        steps = calibrated_steps(trajectory)
        self._levels = [trajectory.sigmas[step] for step in steps]
        self._timesteps = tuple(trajectory.timesteps[step] for step in steps)
        self._seeds = [(settings.seed + run) % 2**64 for run in range(settings.seeds)]
        self._runs: list[list[Point]] = []  # one per seed
        self._tallies = [Tally(name, len(steps)) for name in names]
        self._progress = Progress(base, settings.seeds * (trajectory.steps + len(steps) * (len(guiders) - 1)))

    def run_base(self) -> None:
        """Sample with the base model, once per seed."""
        for seed in self._seeds:
            sampler = sampler_object(self._settings.sampler_name)
            recording = RecordingSampler(sampler, self._levels, Mixing.of(self._sampling))
            callback = self._progress.sampling_callback
            run_guider(self._guiders[-1], self._latent, recording, self._sigmas, seed, callback)
            self._runs.append(points_of(recording, self._levels, self._settings.sampler_name))
            for step, point in enumerate(self._runs[-1]):
                self._tallies[-1].add(step, point.denoised, point)

    def replay(self, index: int) -> None:
        """Predict with another model from the base model's inputs."""
        guider = self._guiders[index]
        sampling = guider.model_patcher.get_model_object("model_sampling")
        to_model = conversion(self._sampling, sampling, self._levels, self._names[index])
        sigmas = self._sigmas if to_model is None else to_model.sigmas(self._sigmas)
        for seed, points in zip(self._seeds, self._runs, strict=True):
            replay = ReplaySampler(points, to_model, self._tallies[index].add, self._progress.step)
            run_guider(guider, self._latent, replay, sigmas, seed)

    def result(self) -> Calibration:
        patchers = [guider.model_patcher for guider in self._guiders]
        return Calibration(
            models=tuple(ModelMark(model_name(patcher), model_identity(patcher)) for patcher in patchers),
            timesteps=self._timesteps,
            sigmas=tuple(self._levels),
            relative_error=_means([tally.relative_error for tally in self._tallies]),
            relative_error_spread=_spreads([tally.relative_error for tally in self._tallies]),
            cosine=_means([tally.cosine for tally in self._tallies]),
            cosine_spread=_spreads([tally.cosine for tally in self._tallies]),
            noise_error=_means([tally.noise_error for tally in self._tallies]),
            seeds=tuple(self._seeds),
            samples=len(self._tallies[-1].cosine[0]),
            steps=len(self._sigmas) - 1,
            sampler=self._settings.sampler_name,
            scheduler=self._settings.scheduler if self._settings.sigmas is None else OWN_SIGMAS,
            cfg=self._settings.cfg,
            small_cfg=self._guiders[0].cfg,
            frequencies=self._tallies[-1].spectra[0][0].frequencies,
            log_amplitude=tuple(tally.log_amplitude() for tally in self._tallies),
        )


def check_inputs(names: Sequence[str], parts: Sequence[ModelStage], latent: Any) -> None:
    """Raise StitchError for a value of the wrong type, or a MODEL that is stitched already."""
    for name, part in zip(names, parts, strict=True):
        check_model(name, part.model)
        if joined_spec(part.model) is not None:
            raise StitchError(
                f"{name} is joined of several models already, by Multi-Model Schedule: connect the models that go into"
                " it instead."
            )
        check_conditioning("positive", part.positive)
        check_conditioning("negative", part.negative)
    check_latent("latent_image", latent)
    check_single_latent(latent)


def sigmas_of(model: Any, settings: Settings) -> Tensor:
    """The levels a KSampler takes, or those that are given. Raises StitchError."""
    check_sampler(settings.sampler_name, settings.scheduler)
    if settings.sigmas is not None:
        return settings.sigmas.to(model.load_device)
    sampler = KSampler(
        model, settings.steps, model.load_device, settings.sampler_name, settings.scheduler, model_options={}
    )
    return sampler.sigmas


def calibrated_steps(trajectory: Trajectory) -> list[int]:
    """Steps whose start differs in noise level from that of the step before."""
    found: list[int] = []
    for step, t in enumerate(trajectory.timesteps[:-1]):
        if not found or t < trajectory.timesteps[found[-1]]:
            found.append(step)
    return found


def points_of(recording: RecordingSampler, levels: Sequence[float], sampler_name: str) -> list[Point]:
    """One point per level. Raises StitchError for samplers with their own noise levels."""
    if len(recording.points) < len(levels):
        raise StitchError(
            f"The sampler {sampler_name} stops at {len(recording.points)} of the {len(levels)} noise levels of its"
            " schedule only: calibrate with another, such as euler."
        )
    return [recording.points[index] for index in range(len(levels))]


def run_guider(
    guider: Any,
    latent: dict[str, Any],
    sampler: Any,
    sigmas: Tensor,
    seed: int,
    callback: Callable[..., None] | None = None,
) -> Tensor:
    """As the host's KSampler runs a sampler."""
    latent_image, mask = latent["samples"], latent.get("noise_mask")
    noise = comfy.sample.prepare_noise(latent_image, seed, latent.get("batch_index"))
    return guider.sample(
        noise, latent_image, sampler, sigmas, denoise_mask=mask, callback=callback, disable_pbar=True, seed=seed
    )


def _kept(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """A copy in RAM, 0 outside `mask`."""
    kept = values if mask is None else values * mask
    return kept.detach().to("cpu", copy=True)


def _means(tables: Sequence[Sequence[Sequence[float]]]) -> Rows:
    return tuple(tuple(statistics.fmean(samples) for samples in table) for table in tables)


def _spreads(tables: Sequence[Sequence[Sequence[float]]]) -> Rows:
    return tuple(tuple(statistics.pstdev(samples) for samples in table) for table in tables)
