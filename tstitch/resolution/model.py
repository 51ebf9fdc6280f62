"""A MODEL that runs at fewer latent pixels, while the sampler keeps its state, noise and history at full size.

The host enters the model's guider at the smaller size, so it resizes masks, hints and conditioning itself. Each call is
scaled down, gets the noise level of the smaller latent, and its prediction is scaled up again (`scaling`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import comfy.sampler_helpers
import torch
from torch import Tensor
from torch.nn import functional as F

from ..checks.compatibility import check_resizable
from ..checks.inputs import check_model
from ..errors import StitchError
from ..host.clones import clone_sharing_patches, wrap_sampling
from ..host.conditioning import controls_of, keyframes_of
from ..host.levels import filled, followed, level_of, unfollowed
from ..host.noise_levels import Mixing
from .scaling import Scaling, smaller_size

ATTACHMENT = "tstitch_scale"
POST_CFG = "sampler_post_cfg_function"
SMALLEST, LARGEST = 0.25, 1.0
ALWAYS = 1e8  # the host's sigma of "from the very start" lies above


def low_resolution(model: Any, scale: float) -> Any:
    """A clone of `model` that runs at `scale` times the latent height and width. Raises StitchError."""
    check_model("model", model)
    check_scale(scale)
    check_resizable("model", model)

    def outer_sample(
        executor: Any,
        noise: Tensor,
        latent_image: Tensor,
        sampler: Any,
        sigmas: Tensor,
        denoise_mask: Tensor | None = None,
        callback: Any = None,
        disable_pbar: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> Any:
        check_shape(noise, kwargs.get("latent_shapes") or ())
        guider = executor.class_obj
        small = size_at(scale, guider.model_patcher, noise.shape)
        if small == tuple(noise.shape[-2:]):
            return executor(noise, latent_image, sampler, sigmas, denoise_mask, callback, disable_pbar, seed, **kwargs)
        patcher = guider.model_patcher
        scaling = Scaling.of(noise.shape[-2:], small, patcher.load_device)
        level = SmallerLevel(patcher.get_model_object("model_sampling"), scaling)
        reduced = FullSizeSampler(sampler, level, noise, latent_image, sigmas, denoise_mask)
        for name, entries in guider.conds.items():
            guider.conds[name] = [fitted(entry, noise.shape[-2:], small) for entry in entries]
        if "latent_shapes" in kwargs:
            kwargs["latent_shapes"] = [torch.Size((*noise.shape[:-2], *small))]
        return executor(
            level.down(noise),
            level.down(latent_image),
            reduced,
            level.sigmas(sigmas),
            None if denoise_mask is None else by_area(denoise_mask, small),
            callback,
            disable_pbar,
            seed,
            **kwargs,
        )

    clone = clone_sharing_patches(model)
    clone.set_attachments(ATTACHMENT, scale * scale_of(model))
    if scale < 1:
        wrap_sampling(clone, outer_sample)
    return clone


def check_scale(scale: object) -> None:
    """Raise StitchError unless `scale` is in range."""
    if not isinstance(scale, (int, float)) or not SMALLEST <= scale <= LARGEST:
        raise StitchError(f"scale goes from {SMALLEST:g} to {LARGEST:g} of the height and width, got {scale!r}.")


def scale_of(patcher: Any) -> float:
    """Scale of a MODEL's latent height and width; 1 if it runs at full size."""
    return float(patcher.get_attachment(ATTACHMENT) or 1.0)


def size_at(scale: float, patcher: Any, shape: Sequence[int]) -> tuple[int, int]:
    """Latent height and width at `scale`. Raises StitchError if nothing would be left."""
    height, width = shape[-2:]
    if min(height, width) * scale < 1:
        raise StitchError(
            f"A latent of {width} x {height} at scale {scale:g} has less than one value per side: raise the scale, or"
            " sample without Low-Resolution Model."
        )
    return smaller_size(height, width, scale, patch_of(patcher))


def patch_of(patcher: Any) -> int:
    """Height and width should be multiples of this: the model's patch, or the levels of its U-Net."""
    network = patcher.model.diffusion_model
    patch = getattr(network, "patch_size", None)
    if isinstance(patch, (tuple, list)):
        patch = max(patch[-2:])
    if isinstance(patch, int) and patch > 0:
        return patch
    levels = getattr(network, "channel_mult", None)
    return 2 ** (len(levels) - 1) if levels else 1


def check_shape(noise: Any, shapes: Sequence[Any]) -> None:
    """Raise StitchError unless the latents of a run have height and width."""
    if len(shapes) > 1 or getattr(noise, "is_nested", False):
        raise StitchError(
            "Low-Resolution Model takes a picture or a video alone, but this latent holds several, such as a video"
            " with sound: sample it without Low-Resolution Model."
        )
    if noise.ndim not in (4, 5):
        raise StitchError(
            f"Low-Resolution Model needs latents with height and width, but these have the shape"
            f" {' x '.join(map(str, noise.shape))} (sound or 3D): sample them without it."
        )


class SmallerLevel:
    """A noise level of the run as the smaller latent has it: the ratio of noise to signal is k times smaller.

    For flow models t' = t / (t + k (1 - t)), section 5.3.2 of arXiv 2403.03206 read backwards; sigma' = sigma / k else.
    """

    def __init__(self, model_sampling: Any, scaling: Scaling) -> None:
        self.sampling, self.scaling = model_sampling, scaling
        self._mixing = Mixing.of(model_sampling)

    def mixing(self, sigma: float) -> tuple[float, float]:
        return self._mixing.at(sigma)

    def __call__(self, sigma: float) -> tuple[float, float]:
        """The smaller latent's sigma, and the factor on D(x)."""
        a, b = self._mixing.at(sigma)
        if b == 0:
            return sigma, 1.0
        k = self.scaling.k
        if a <= 0:
            return sigma, k
        level = self._mixing.sigma_of_ratio(b / a / k)
        return level, k * self._mixing.at(level)[1] / b

    def sigma(self, sigma: float) -> float:
        return self(sigma)[0]

    def sigmas(self, sigmas: Tensor) -> Tensor:
        return sigmas.new_tensor([self.sigma(float(sigma)) for sigma in sigmas.cpu()])

    def of_percent(self, percent: float) -> float:
        """The sigma of a percent of the run, for the smaller latent."""
        return self.bound(float(self.sampling.percent_to_sigma(percent)))

    def bound(self, sigma: float) -> float:
        """As `sigma`, for levels that may mean "from the very start" or "to the very end"."""
        return self.sigma(sigma) if 0 < sigma < ALWAYS else sigma

    def down(self, latent: Tensor) -> Tensor:
        scaling = self.scaling
        small = scaling.down(scaling.spectrum(latent.to(scaling.rows.device)))
        return small.to(latent.device, latent.dtype)


class FullSizeSampler:
    """Replaces the sampler: runs it at full size, on the model at the smaller size."""

    def __init__(
        self, sampler: Any, level: SmallerLevel, noise: Tensor, latent_image: Tensor, sigmas: Tensor, mask: Any
    ) -> None:
        self.inner, self.level, self.sigmas = sampler, level, sigmas
        self._noise, self._latent_image, self._mask = noise, latent_image, mask

    def sample(
        self, model_wrap: Any, sigmas: Tensor, extra_args: dict[str, Any], callback: Any, noise: Tensor, *rest: Any
    ) -> Tensor:
        denoiser = LowResolutionDenoiser(model_wrap, self.level, extra_args["model_options"])
        denoiser.fit_times()
        device, latent_image, mask = noise.device, self._latent_image, self._mask
        latent_image = latent_image.to(device)
        if torch.count_nonzero(latent_image) > 0:  # as the host treats an empty latent
            latent_image = model_wrap.inner_model.process_latent_in(latent_image)
        if mask is not None:
            mask = comfy.sampler_helpers.prepare_mask(mask, self._noise.shape, device)
        levels = self.sigmas.to(sigmas.device)
        with followed(levels):
            return self.inner.sample(
                denoiser, levels, extra_args, callback, self._noise.to(device), latent_image, mask, *rest[2:]
            )

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def run_sigmas(sampler: Any, sigmas: Tensor) -> Tensor:
    """Noise levels of the full-size run if `sampler` belongs to a low-resolution model, else `sigmas`."""
    while isinstance(sampler, FullSizeSampler):
        sampler, sigmas = sampler.inner, sampler.sigmas
    return sigmas


def level_of_run(sampler: Any, sigma: float) -> float:
    """A noise level of the run, as seen at the smaller sizes at which `sampler` runs."""
    levels: list[SmallerLevel] = []
    while isinstance(sampler, FullSizeSampler):
        levels.append(sampler.level)
        sampler = sampler.inner
    for level in reversed(levels):
        sigma = level.bound(sigma)
    return sigma


class LowResolutionDenoiser:
    """The model as the sampler sees it: latents of full size in and out. All else is the prepared guider's."""

    def __init__(self, guider: Any, level: SmallerLevel, model_options: dict[str, Any]) -> None:
        self.inner, self._level = guider, level
        self._own_functions = list(model_options.get(POST_CFG, []))

    def __call__(self, x: Tensor, sigma: Tensor, model_options: dict[str, Any] | None = None, **kwargs: Any) -> Tensor:
        with unfollowed():
            return self._answer(x, sigma, model_options, kwargs)

    def _answer(self, x: Tensor, sigma: Tensor, model_options: dict[str, Any] | None, kwargs: dict[str, Any]) -> Tensor:
        scaling, level = self._level.scaling, level_of(sigma)
        small_level, factor = self._level(level)
        a, b = self._level.mixing(level)
        spectrum = scaling.spectrum(x)
        inputs = scaling.down(spectrum).to(x.dtype) * factor
        noisy, ratio = (spectrum / a, b / a) if a > 0 else (None, math.inf)
        options, late = self._without_late_functions(model_options or {})
        told: dict[str, Any] = {}
        if late:
            options[POST_CFG] = [*options[POST_CFG], _noting(told)]
        answer = self.inner(inputs, filled(sigma, small_level), model_options=options, **kwargs)

        def lifted(value: Tensor) -> Tensor:
            return scaling.up(value, noisy, ratio).to(x.dtype)

        denoised = lifted(answer)
        if told:
            tensors = {name: lifted(told[name]) for name in ("cond_denoised", "uncond_denoised")}
            told.update(tensors, denoised=denoised, input=x, sigma=sigma, model_options=model_options)
            for function in late:
                denoised = told["denoised"] = function(told)
        return denoised

    def _without_late_functions(self, options: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
        """Options without the post-CFG functions that the sampler added, and those: they work at full size.

        The CFG++ samplers take the unconditional prediction out through them.
        """
        known = {id(function) for function in self._own_functions}
        functions = options.get(POST_CFG, [])
        late = [function for function in functions if id(function) not in known]
        if not late:
            return options, []
        return {**options, POST_CFG: [function for function in functions if id(function) in known]}, late

    def fit_times(self) -> None:
        """Make conditioning, ControlNets and hooks begin and end at the run's noise, not the smaller latent's."""
        of_percent, conds = self._level.of_percent, getattr(self.inner, "conds", {})
        for entries in conds.values():
            for entry in entries:
                _fit_range(entry, of_percent)
        for control in controls_of(conds):
            control.timestep_range = tuple(of_percent(percent) for percent in control.timestep_percent_range)
        for keyframes in keyframes_of(conds):
            for keyframe in keyframes.keyframes:
                keyframe.start_t = of_percent(keyframe.start_percent)

    def smaller(self, sigma: float) -> float:
        return self._level.sigma(sigma)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.inner, name)


def _noting(told: dict[str, Any]) -> Callable[[dict[str, Any]], Tensor]:
    def note(args: dict[str, Any]) -> Tensor:
        told.update(args)
        return args["denoised"]

    return note


def _fit_range(entry: dict[str, Any], of_percent: Callable[[float], float]) -> None:
    """As the host's `calculate_start_end_timesteps`."""
    if "clip_start_percent" in entry:
        entry["timestep_start"] = of_percent(max(entry["clip_start_percent"], entry.get("start_percent", 0.0)))
        entry["timestep_end"] = of_percent(min(entry["clip_end_percent"], entry.get("end_percent", 1.0)))
        return
    for percent, bound in (("start_percent", "timestep_start"), ("end_percent", "timestep_end")):
        if percent in entry:
            entry[bound] = of_percent(entry[percent])


def fitted(entry: dict[str, Any], full: Iterable[int], small: Sequence[int]) -> dict[str, Any]:
    """An entry of conditioning with its area and its GLIGEN boxes, counted in latent pixels, at the smaller size."""
    height, width = full
    factors = small[0] / height, small[1] / width
    entry = entry.copy()
    area = entry.get("area")
    if area is not None and area[0] != "percentage":
        sides = len(area) // 2
        by_side = [1.0] * (sides - 2) + list(factors)  # frames before height and width
        sizes = [max(1, round(value * factor)) for value, factor in zip(area[:sides], by_side, strict=True)]
        places = [round(value * factor) for value, factor in zip(area[sides:], by_side, strict=True)]
        entry["area"] = (*sizes, *places)
    if "gligen" in entry:
        kind, model, boxes = entry["gligen"]
        entry["gligen"] = (kind, model, [(box[0], *_scaled_box(box[1:], factors)) for box in boxes])
    return entry


def _scaled_box(box: Sequence[float], factors: tuple[float, float]) -> tuple[int, ...]:
    h, w, y, x = box
    down, across = factors
    return max(1, round(h * down)), max(1, round(w * across)), round(y * down), round(x * across)


def by_area(mask: Tensor, small: tuple[int, int]) -> Tensor:
    """A mask (..., H, W) of any size, averaged over the pixels of the smaller latent."""
    if mask.ndim < 3:
        return by_area(mask[None], small)[0]
    flat = mask.reshape(-1, 1, *mask.shape[-2:]).float()
    return F.adaptive_avg_pool2d(flat, small).reshape(*mask.shape[:-2], *small)
