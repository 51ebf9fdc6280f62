"""A MODEL that is asked at fewer latent pixels, while the sampler keeps its state, noise and history at full size.

The host enters the model's guider at the smaller size, so that it resizes masks, hints and conditioning itself. Each
call is taken down, its noise level is that of the smaller latent, and the answer is brought up (`scaling`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import comfy.sampler_helpers
import torch
from torch import Tensor

from ..checks.compatibility import check_resizable
from ..checks.inputs import check_model
from ..errors import StitchError
from ..host.clones import clone_sharing_patches, wrap_sampling
from ..host.levels import filled, followed, level_of, unfollowed
from ..host.noise_levels import same_mixing
from ..host.samplers import DenoiserInPlace, SamplerInPlace, samplers_within
from .fitting import Fitting, by_area
from .levels import SmallerLevel, fit_times
from .scaling import Scaling, smaller_size

ATTACHMENT = "tstitch_scale"
POST_CFG = "sampler_post_cfg_function"
SMALLEST, LARGEST = 0.25, 1.0


def low_resolution(model: Any, scale: float) -> Any:
    """A clone of `model` that is asked at `scale` of the height and width of its latents. Raises StitchError."""
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
        patcher, full = guider.model_patcher, noise.shape[-2:]
        small = size_at(scale, patcher, noise.shape)
        if small == tuple(full):
            return executor(noise, latent_image, sampler, sigmas, denoise_mask, callback, disable_pbar, seed, **kwargs)
        scaling = Scaling.of(full, small, patcher.load_device)
        level = SmallerLevel(patcher.get_model_object("model_sampling"), scaling.k)
        if "latent_shapes" in kwargs:
            kwargs["latent_shapes"] = [torch.Size((*noise.shape[:-2], *small))]
        with fitted_conditioning(guider, Fitting(full, small, patcher.model.diffusion_model)):
            return executor(
                scaling.shrink(noise) * scaling.k,
                scaling.shrink(latent_image),
                FullSizeSampler(sampler, level.sampling, scaling, noise, latent_image, sigmas, denoise_mask),
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
    """Of the height and width at which a MODEL is asked; 1 where it is the run's own."""
    return float(patcher.get_attachment(ATTACHMENT) or 1.0)


def size_at(scale: float, patcher: Any, shape: Sequence[int]) -> tuple[int, int]:
    """Height and width of the latents a model is asked at. Raises StitchError where nothing would be left."""
    height, width = shape[-2:]
    if min(height, width) * scale < 1:
        raise StitchError(
            f"A latent of {width} x {height} at scale {scale:g} has less than one value a side: raise the scale, or"
            " sample without Low-Resolution Model."
        )
    return smaller_size(height, width, scale, patch_of(patcher))


def patch_of(patcher: Any) -> int:
    """What height and width of a model's latents are best multiples of: its patch, or its U-Net's levels."""
    network = patcher.model.diffusion_model
    patch = getattr(network, "patch_size", getattr(network, "patch_spatial", None))  # Cosmos has the second
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


@contextmanager
def fitted_conditioning(guider: Any, fit: Fitting) -> Iterator[None]:
    """The conditioning of a run, and that which models inside of it take over, at the smaller size."""
    original = guider.original_conds
    guider.conds = {name: [fit(entry) for entry in entries] for name, entries in guider.conds.items()}
    guider.original_conds = {name: [fit(entry) for entry in entries] for name, entries in original.items()}
    try:
        yield
    finally:
        guider.original_conds = original


class FullSizeSampler(SamplerInPlace):
    """Given to the host in place of the sampler: runs that one at full size, on the model at the smaller size."""

    def __init__(
        self,
        sampler: Any,
        model_sampling: Any,
        scaling: Scaling,
        noise: Tensor,
        latent_image: Tensor,
        sigmas: Tensor,
        mask: Tensor | None,
    ) -> None:
        self.inner, self.scaling, self.sigmas = sampler, scaling, sigmas
        self._sampling = model_sampling  # in whose coordinates `sigmas` are
        self._noise, self._latent_image, self._mask = noise, latent_image, mask

    def sample(
        self, model_wrap: Any, sigmas: Tensor, extra_args: dict[str, Any], callback: Any, noise: Tensor, *rest: Any
    ) -> Tensor:
        model, device = model_wrap.inner_model, noise.device
        sampling = model.model_sampling
        level = SmallerLevel(sampling, self.scaling.k)
        if not isinstance(model_wrap, DenoiserInPlace):
            whole = SmallerLevel(sampling, shrinkage(self))
            fit_times(model_wrap, extra_args["model_options"], whole)
        same = same_mixing(sampling, self._sampling)  # or else a model of another kind leads the run
        run = self.sigmas.to(sigmas.device) if same else level.larger_sigmas(sigmas)
        run_noise, latent_image, mask = self._noise.to(device), self._latent_image.to(device), self._mask
        if torch.count_nonzero(latent_image) > 0:  # as the host treats an empty latent
            latent_image = model.process_latent_in(latent_image)
        kept = None
        if mask is not None:
            if mask.shape != run_noise.shape:  # newer hosts have stretched it by now
                mask = comfy.sampler_helpers.prepare_mask(mask, run_noise.shape, device)
            mask = mask.to(device)
            kept = KeptPart(model, run_noise, latent_image, mask, self.scaling.k)
        denoiser = LowResolutionDenoiser(model_wrap, self.scaling, level, extra_args["model_options"], kept)
        with followed(run):
            return self.inner.sample(denoiser, run, extra_args, callback, run_noise, latent_image, mask, *rest[2:])

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def run_sigmas(sampler: Any, sigmas: Tensor, model_sampling: Any) -> Tensor:
    """The noise levels of the run itself, where `sampler` is run at smaller sizes, else `sigmas`."""
    while isinstance(sampler, FullSizeSampler):
        sampler, sigmas = sampler.inner, sampler.sigmas
    k = shrinkage(sampler)
    return sigmas if k == 1 else SmallerLevel(model_sampling, k).larger_sigmas(sigmas)


def shrinkage(sampler: Any) -> float:
    """By how much averaging quiets the noise at the smaller sizes at which `sampler` is run; 1 at full size."""
    return math.prod(each.scaling.k for each in samplers_within(sampler) if isinstance(each, FullSizeSampler))


class KeptPart:
    """What a mask keeps of the latent image, which some models (LTX-Video, Wan 2.2 5B, Cosmos) read without noise.

    The factor on D(x) is right for what has the noise of the run: the part that has less is set right before.
    """

    def __init__(self, model: Any, noise: Tensor, latent_image: Tensor, mask: Tensor, k: float) -> None:
        self._model, self._noise, self._latent_image, self._k = model, noise, latent_image, k
        self._kept = 1 - mask

    def __call__(self, x: Tensor, sigma: Tensor, smaller: Tensor, factor: float) -> Tensor:
        """x times `factor`, with the kept part as the model has it at the level `smaller` of the smaller latent."""
        scale, image = self._model.scale_latent_inpaint, self._latent_image
        now = scale(x=x, sigma=sigma, noise=self._noise, latent_image=image)
        then = scale(x=x, sigma=smaller, noise=self._noise * self._k, latent_image=image)
        return x * factor + (then - now * factor) * self._kept


class LowResolutionDenoiser(DenoiserInPlace):
    """The model as the sampler sees it: latents of full size in and out. All else is the prepared guider's."""

    def __init__(
        self, guider: Any, scaling: Scaling, level: SmallerLevel, model_options: dict[str, Any], kept: KeptPart | None
    ) -> None:
        self.inner, self._scaling, self._level, self._kept = guider, scaling, level, kept
        self._own_functions = list(model_options.get(POST_CFG, []))

    @property
    def k(self) -> float:
        return self._level.k

    def __call__(self, x: Tensor, sigma: Tensor, model_options: dict[str, Any] | None = None, **kwargs: Any) -> Tensor:
        with unfollowed():
            return self._answer(x, sigma, model_options, kwargs)

    def _answer(self, x: Tensor, sigma: Tensor, model_options: dict[str, Any] | None, kwargs: dict[str, Any]) -> Tensor:
        scaling, level = self._scaling, level_of(sigma)
        small_level, factor = self._level(level)
        a, b = self._level.mixing(level)
        smaller = filled(sigma, small_level)
        spectrum = scaling.spectrum(x)
        if self._kept is None:
            inputs = scaling.down(spectrum).to(x.dtype) * factor
        else:
            inputs = scaling.shrink(self._kept(x, sigma, smaller, factor))
        noisy, ratio = (spectrum / a, b / a) if a > 0 else (None, math.inf)
        options, late = self._without_late_functions(model_options or {})
        told: dict[str, Any] = {}
        if late:
            options[POST_CFG] = [*options[POST_CFG], _noting(told)]
        answer = self.inner(inputs, smaller, model_options=options, **kwargs)

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
