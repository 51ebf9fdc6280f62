"""A device whose size the test sets: the host keeps the books of it as of any other."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import comfy.latent_formats
import comfy.model_base
import comfy.model_management as mm
import comfy.model_patcher
import torch
from comfy.model_base import ModelType
from comfy.patcher_extension import CallbacksMP

from tstitch_testing.models import GaussianConfig

DEVICE = torch.device("cpu:0")  # holds the same tensors as "cpu", but the host counts it as a device of its own


@dataclass
class Device:
    """What the host's own accounting says about the simulated device."""

    block: int  # bytes of one unit of weights
    limit: int
    loads: list[str] = field(default_factory=list)  # weights put there, in order
    seen: list[tuple[str, dict[str, int]]] = field(default_factory=list)  # (model called, blocks of each there)
    peak: int = 0
    models: dict[str, Any] = field(default_factory=dict)

    def model(self, name: str, network: type, blocks: int, mean: float = 0.3, std: float = 0.7, **config: Any) -> Any:
        """A MODEL of the analytic denoiser in `network`, which has so many blocks."""
        model_config = GaussianConfig(mean, std, comfy.latent_formats.SD15(), {})
        model_config.unet_config.update(config, blocks=blocks)
        model = comfy.model_base.BaseModel(model_config, model_type=ModelType.EPS, unet_model=network)
        model.diffusion_model.sampling = model.model_sampling
        patcher = comfy.model_patcher.ModelPatcher(model, load_device=DEVICE, offload_device=torch.device("cpu"))
        patcher.add_callback(CallbacksMP.ON_LOAD, lambda *_: self._loaded(name))
        model.diffusion_model.watch = lambda: self.seen.append((name, self.resident()))
        self.models[name] = (weakref.ref(model), blocks)
        return patcher

    def resident(self) -> dict[str, int]:
        """Blocks of each model that are on the device; what else a model has (a noise schedule) is spread over them."""
        found = {name: (model(), blocks) for name, (model, blocks) in self.models.items()}
        return {
            name: round(blocks * model.model_loaded_weight_memory / mm.module_size(model))
            for name, (model, blocks) in found.items()
            if model is not None
        }

    def used(self) -> int:
        return sum(self.resident().values()) * self.block

    def take_over(self, replace: Callable[[Any, str, Any], None]) -> None:
        """Have the host ask this device for its memory; `replace` sets an attribute as setattr does."""
        original = mm.get_free_memory

        def get_free_memory(dev: Any = None, torch_free_too: bool = False) -> Any:
            if dev != DEVICE:
                return original(dev, torch_free_too)
            free = self.limit - self.used()
            return (free, 0) if torch_free_too else free

        replace(mm, "get_free_memory", get_free_memory)
        replace(mm, "is_device_cpu", lambda dev: dev == torch.device("cpu"))
        replace(mm, "vram_state", mm.VRAMState.NORMAL_VRAM)
        replace(mm, "minimum_inference_memory", lambda *_: 2 * self.block)
        replace(mm, "extra_reserved_memory", lambda *_: 0)
        replace(comfy.model_base.BaseModel, "memory_required", lambda *_, **__: 2 * self.block)

    def _loaded(self, name: str) -> None:
        self.loads.append(name)
        self.peak = max(self.peak, self.used())
