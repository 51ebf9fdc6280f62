"""Builds a MODEL from weights, as the host's own loaders do."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

import comfy.latent_formats
import comfy.model_management as mm
import comfy.model_patcher
import comfy.ops
import comfy.utils
import torch
from comfy.patcher_extension import WrapperExecutor, WrappersMP, get_all_wrappers
from torch import Tensor, nn

from ...errors import StitchError

Arguments = ParamSpec("Arguments")
Loaded = TypeVar("Loaded")


def reloadable(load: Callable[Arguments, Loaded]) -> Callable[Arguments, Loaded]:
    """Decorates a loader that returns a MODEL, alone or first of several, so that newer hosts can load it once more.

    Their Train LoRA, and runs on several GPUs, need separate weights.
    """

    @functools.wraps(load)
    def remembered(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Loaded:
        loaded = load(*args, **kwargs)
        again = (_load_again, (functools.partial(remembered, *args, **kwargs),))
        if isinstance(loaded, tuple):
            loaded[0].cached_patcher_init = (*again, 0)
        else:
            loaded.cached_patcher_init = again  # type: ignore[attr-defined]
        return loaded

    return remembered


#: Whether MODELs are made so that the host can page their weights, where it does so.
_paged: ContextVar[bool] = ContextVar("paged", default=True)


def _load_again(load: Callable[[], Any], disable_dynamic: bool = False) -> Any:
    """As the host calls it; with `disable_dynamic` it wants to patch the weights by hooks, which it cannot page."""
    token = _paged.set(not disable_dynamic)
    try:
        return load()
    finally:
        _paged.reset(token)


class EagerLayers(comfy.ops.disable_weight_init):
    """Layers that know their weight shapes at once; those of newer hosts have none until they are loaded."""

    Linear = nn.Linear
    Embedding = nn.Embedding


def build_patcher(
    config: Any, state_dict: dict[str, Tensor], dtype: torch.dtype | None = None
) -> comfy.model_patcher.ModelPatcher:
    """The weights as a MODEL, in the dtype (unless given) and on the devices the host chooses."""
    load_device = mm.get_torch_device()
    dtypes = list(config.supported_inference_dtypes)
    dtype = dtype or mm.unet_dtype(
        model_params=comfy.utils.calculate_parameters(state_dict),
        supported_dtypes=dtypes,
        weight_dtype=comfy.utils.weight_dtype(state_dict),
    )
    config.set_inference_dtype(dtype, mm.unet_manual_cast(dtype, load_device, dtypes))
    model = config.get_model(state_dict)
    offload_device = mm.unet_offload_device()
    patcher = patcher_class()(model, load_device=load_device, offload_device=offload_device)
    # Before any move, which layers without weights cannot make. Weights that are paged are taken over from the file.
    paged = hasattr(patcher, "is_dynamic") and patcher.is_dynamic()
    model.load_model_weights(state_dict, "", **({"assign": True} if paged else {}))
    for parameter in model.diffusion_model.parameters():
        parameter.data = parameter.data.to(dtype)  # such layers take over the file's
    model.to(offload_device)
    return patcher


def patcher_class() -> type[comfy.model_patcher.ModelPatcher]:
    """That whose weights the host pages (dynamic VRAM), where it does."""
    plain = comfy.model_patcher.ModelPatcher
    return getattr(comfy.model_patcher, "CoreModelPatcher", plain) if _paged.get() else plain


def run_wrapped(
    network: nn.Module, forward: Callable[..., Tensor], x: Tensor, timesteps: Tensor, context: Tensor,
    transformer_options: dict | None, **more: Any,
) -> Tensor:  # fmt: skip
    """`forward` of `network` with the wrappers of other nodes around it (EasyCache), as the host's networks call it."""
    options = transformer_options or {}
    wrappers = get_all_wrappers(WrappersMP.DIFFUSION_MODEL, options)
    if wrappers:
        x = x.clone()  # EasyCache writes into it, and the host still reads the x of a flow model
    executor = WrapperExecutor.new_class_executor(forward, network, wrappers)
    return executor.execute(x, timesteps, context, options, **more)


def check_sd_latents(channels: int) -> None:
    if channels != comfy.latent_formats.SD15.latent_channels:
        raise StitchError(
            f"The model works on latents of {channels} channels, but DiT, SiT, REPA, Shortcut and U-ViT models for the"
            " SD VAE have 4: this pack knows no other latent space for them."
        )
