"""Small models with known answers, in every parameterization of the host."""

from __future__ import annotations

import time
from typing import Any

import comfy.hooks
import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.supported_models_base
import torch
from comfy.model_base import ModelType
from torch import Tensor, nn


class GaussianDenoiser(nn.Module):
    """The exact network for data N(mu, s^2): its output, read by the model's own sampling, is E[x0 | x].

    x = a x0 + b noise has the posterior mean mu + a s^2 (x - a mu) / (a^2 s^2 + b^2). The conditioning shifts mu, so
    guidance has an effect. `calls` keeps the sigma of each forward pass.
    """

    def __init__(self, mean: float, std: float, dtype: torch.dtype = torch.float32, **_: Any) -> None:
        super().__init__()
        self.mean, self.std, self.dtype = mean, std, dtype
        self.weight = nn.Parameter(torch.zeros(1, dtype=dtype), requires_grad=False)
        self.sampling: Any = None
        self.calls: list[float] = []
        self.inputs: list[Tensor] = []
        self.sample_sigmas: list[Tensor] = []

    def forward(self, x: Tensor, timesteps: Tensor, context: Tensor | None = None, **kwargs: Any) -> Tensor:
        options = kwargs["transformer_options"]
        sigma = options["sigmas"][:1]
        self.calls.append(float(sigma))
        self.inputs.append(x)
        self.sample_sigmas.append(options["sample_sigmas"])
        x = x / self.sampling.calculate_input(sigma, torch.ones([1] * x.ndim))
        a, b = self.mixing(sigma)
        mean = self.mean
        if context is not None:
            mean = mean + context.mean(dim=(1, 2)).reshape(-1, *[1] * (x.ndim - 1))
        denoised = mean + a * self.std**2 * (x - a * mean) / (a**2 * self.std**2 + b**2)
        zero = self.sampling.calculate_denoised(sigma, torch.zeros_like(x), x)
        slope = self.sampling.calculate_denoised(sigma, torch.ones_like(x), x) - zero
        return (denoised - zero) / slope

    def mixing(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
        one, zero = torch.ones(1), torch.zeros(1)
        return (
            self.sampling.noise_scaling(sigma, zero.clone(), one.clone()),
            self.sampling.noise_scaling(sigma, one.clone(), zero.clone()),
        )


class GaussianConfig(comfy.supported_models_base.BASE):
    unet_extra_config: dict[str, Any] = {}
    memory_usage_factor = 0.01

    def __init__(self, mean: float, std: float, latent_format: Any, sampling_settings: dict[str, Any]) -> None:
        super().__init__({"mean": mean, "std": std})
        self.latent_format, self.sampling_settings = latent_format, sampling_settings


def gaussian_model(
    mean: float = 0.3,
    std: float = 0.7,
    kind: ModelType = ModelType.EPS,
    latent_format: Any = None,
    **sampling_settings: Any,
) -> comfy.model_patcher.ModelPatcher:
    """A MODEL of the analytic denoiser."""
    config = GaussianConfig(mean, std, latent_format or comfy.latent_formats.SD15(), sampling_settings)
    model = comfy.model_base.BaseModel(config, model_type=kind, unet_model=GaussianDenoiser)
    return patcher_of(model)


def constant_model(mean: float = 0.3, std: float = 0.7, kind: ModelType = ModelType.EPS, **more: Any) -> Any:
    """The exact denoiser for constant pictures c ~ N(mean, std^2), which reads the mean of x alone."""
    model = gaussian_model(mean, std, kind, **more)
    network = model.model.diffusion_model

    def forward(x: Tensor, timesteps: Tensor, context: Tensor | None = None, **kwargs: Any) -> Tensor:
        sigma = kwargs["transformer_options"]["sigmas"][:1]
        network.calls.append(float(sigma))
        network.inputs.append(x)
        network.sample_sigmas.append(kwargs["transformer_options"]["sample_sigmas"])
        x = x / network.sampling.calculate_input(sigma, torch.ones([1] * x.ndim))
        a, b = network.mixing(sigma)
        prior = mean + (0 if context is None else context.mean(dim=(1, 2)).reshape(-1, *[1] * (x.ndim - 1)))
        pixels = x.shape[-1] * x.shape[-2]
        seen = x.mean(dim=(-2, -1), keepdim=True)
        denoised = (prior + a * std**2 * (seen - a * prior) / (a**2 * std**2 + b**2 / pixels)).expand_as(x)
        zero = network.sampling.calculate_denoised(sigma, torch.zeros_like(x), x)
        slope = network.sampling.calculate_denoised(sigma, torch.ones_like(x), x) - zero
        return (denoised - zero) / slope

    network.forward = forward
    return model


def patcher_of(model: Any) -> comfy.model_patcher.ModelPatcher:
    model.diffusion_model.sampling = model.model_sampling
    device = comfy.model_management.get_torch_device()
    return comfy.model_patcher.ModelPatcher(model, load_device=device, offload_device=torch.device("cpu"))


def calls_of(patcher: Any) -> list[float]:
    """Sigmas at which a model was called; batched conditions count once."""
    return patcher.model.diffusion_model.calls


def conditioning(value: float = 0.1, tokens: int = 3, width: int = 5) -> list[Any]:
    return [[torch.full((1, tokens, width), value), {}]]


def hooked(model: Any, strengths: list[tuple[float, float]], guarantee_steps: int = 1) -> list[Any]:
    """Conditioning with a LoRA for the U-Net `model` whose strength follows keyframes (start, strength)."""
    hook = comfy.hooks.WeightHook(strength_model=1.0, strength_clip=0.0)
    hook.need_weight_init = False
    weights = {key: w for key, w in model.model_state_dict().items() if key.endswith("in_layers.2.weight")}
    hook.weights = {key: ("diff", (0.5 * w.flip(0),)) for key, w in weights.items()}
    group, keyframes = comfy.hooks.HookGroup(), comfy.hooks.HookKeyframeGroup()
    group.add(hook)
    for start, strength in strengths:
        keyframes.add(comfy.hooks.HookKeyframe(strength, start, guarantee_steps))
    group.set_keyframes_on_hooks(keyframes)
    return [[tensor, {**values, "hooks": group}] for tensor, values in conditioning(0.4)]


def slowed(model: Any, seconds: float) -> Any:
    """A clone each of whose steps takes so much longer."""

    def wait(args: dict[str, Any]) -> Any:
        time.sleep(seconds)
        return args["denoised"]

    clone = model.clone()
    clone.set_model_sampler_post_cfg_function(wait)
    return clone
