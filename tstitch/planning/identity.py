"""Identity of a MODEL: a hash that survives restarts, devices and dtypes, and a readable name."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from comfy.weight_adapter import WeightAdapterBase
from torch import Tensor, nn

DEPTH = 10  # of containers within containers, beyond which a value is only named
PLACES = 3  # read along each dimension of a tensor
PLAIN = (bool, int, float, complex, str, bytes, type(None))


def model_identity(patcher: Any) -> str:
    """A hash (32 hex digits) of what `patcher` computes: its classes and settings, weights, patches and options.

    Only a few values per tensor count, rounded to bfloat16, so that a file keeps its identity in another precision.
    Nothing is read in full, and each device is read once.
    """
    fingerprint = Fingerprint()
    add_model(fingerprint, patcher)
    return fingerprint.hexdigest()


def model_name(patcher: Any) -> str:
    """The model's family and size, such as "SD15 860M"; "patched" if it has LoRAs or similar."""
    family = type(patcher.model.model_config).__name__.removeprefix("Host").removesuffix("Config")
    size = _readable(sum(weight.numel() for weight in _network(patcher).parameters()))
    return f"{family} {size}" + (" patched" if patcher.patches else "")


class Fingerprint:
    """Hashes plain values at once, and tensors by a sample of their values, fetched at the end."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._samples: list[Tensor] = []
        self._within: list[int] = []  # ids of the containers around the value at hand

    def hexdigest(self) -> str:
        for values in fetch(self._samples):
            self._hash.update(values)
        self._samples.clear()
        return self._hash.hexdigest()

    def mark(self, *words: object) -> None:
        self._hash.update(("\x1f".join(map(str, words)) + "\x1e").encode())

    def add(self, value: Any) -> None:
        """Hash `value`; values nested too deep or in a cycle count by their type alone."""
        if isinstance(value, PLAIN):
            self.mark(type(value).__name__, value)
            return
        if id(value) in self._within or len(self._within) > DEPTH:
            self.mark(_class_name(value))
            return
        self._within.append(id(value))
        try:
            self._add_compound(value)
        finally:
            self._within.pop()

    def _add_compound(self, value: Any) -> None:
        if isinstance(value, Tensor):
            self.add_tensor(value)
        elif isinstance(value, Mapping):
            self.mark("mapping", len(value))
            self.add_items(value)
        elif isinstance(value, (list, tuple)):
            self.mark("sequence", len(value))
            for item in value:
                self.add(item)
        elif isinstance(value, (type, ModuleType, BuiltinFunctionType, torch.dtype, torch.device, Enum)):
            self.mark(getattr(value, "__qualname__", None) or getattr(value, "__name__", None) or value)
        elif hasattr(value, "model_options") and hasattr(value, "patches"):
            add_model(self, value)
        elif isinstance(value, (FunctionType, MethodType, functools.partial)):
            self._add_function(value)
        else:
            self._add_object(value)

    def add_items(self, items: Mapping[Any, Any]) -> None:
        for key in sorted(items, key=str):
            self.mark(key)
            self.add(items[key])

    def add_tensor(self, value: Tensor) -> None:
        self.mark("tensor", *value.shape)
        if hasattr(value, "__tensor_flatten__"):  # PyTorch's protocol of tensors made of others, such as quantized ones
            names, settings = value.__tensor_flatten__()
            self.add({name: getattr(value, name) for name in names})
            self.add(settings)
        elif not value.is_meta:
            self._samples.append(sample_of(value))

    def _add_function(self, value: Any) -> None:
        if isinstance(value, functools.partial):
            parts = [value.func, value.args, value.keywords]
        elif isinstance(value, MethodType):
            parts = [value.__func__, value.__self__]
        else:
            cells = [cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)]
            parts = [cells, value.__defaults__, value.__kwdefaults__]
        self.mark(_class_name(value), getattr(value, "__qualname__", ""))
        for part in parts:
            self.add(part)

    def _add_object(self, value: Any) -> None:
        """Its classes and settings, without state that it gathers while it works."""
        self.mark(*(kind.__qualname__ for kind in type(value).__mro__))
        if is_dataclass(value) and getattr(type(value), "__dataclass_params__").frozen:  # noqa: B009
            self.add_items({field.name: getattr(value, field.name) for field in fields(value)})
            return
        if isinstance(value, nn.Module):
            self.add_items({**dict(value.named_parameters()), **dict(value.named_buffers())})
        self.add_items(_settings(value))


def add_model(fingerprint: Fingerprint, patcher: Any) -> None:
    network = _network(patcher)
    fingerprint.mark(type(patcher.model).__qualname__, type(network).__qualname__, _name(patcher.model, "model_type"))
    config = getattr(patcher.model.model_config, "unet_config", {})
    fingerprint.add({key: value for key, value in config.items() if key != "dtype"})
    for name in ("model_sampling", "latent_format"):
        fingerprint.add(patcher.get_model_object(name))
    add_weights(fingerprint, patcher, network)
    fingerprint.add(patcher.patches)
    fingerprint.add({key: value for key, value in patcher.object_patches.items() if value is not network})
    for name in ("model_options", "wrappers", "callbacks", "attachments", "additional_models", "injections"):
        fingerprint.add(getattr(patcher, name, {}))


def add_weights(fingerprint: Fingerprint, patcher: Any, network: nn.Module) -> None:
    """The weights as in the file, even if another clone's LoRAs are in place now."""
    for key, weight in sorted(network.state_dict(prefix="diffusion_model.").items()):
        if key in patcher.backup:
            weight = patcher.backup[key].weight
        if key in patcher.hook_backup:
            weight = patcher.hook_backup[key][0]
        fingerprint.mark(key.replace("._orig_mod.", "."))  # of torch.compile
        fingerprint.add_tensor(weight)


def sample_of(tensor: Tensor) -> Tensor:
    """(N,) values in bfloat16 from a grid of places over `tensor`, on its device."""
    values = tensor.detach().as_subclass(Tensor)  # what quantized classes store
    for dim, size in enumerate(values.shape):
        step = max(1, -(-size // PLACES))
        values = values[(slice(None),) * dim + (slice(None, None, step),)]
    return values.to(torch.bfloat16).reshape(-1)


def fetch(samples: Sequence[Tensor]) -> Iterable[bytes]:
    """The bytes of all samples in order, with one transfer per device."""
    by_device: dict[torch.device, list[int]] = {}
    for index, sample in enumerate(samples):
        by_device.setdefault(sample.device, []).append(index)
    found: dict[int, bytes] = {}
    for indices in by_device.values():
        together = torch.cat([samples[index] for index in indices]).cpu().view(torch.int16)
        parts = together.split([samples[index].numel() for index in indices])
        found.update((index, part.numpy().tobytes()) for index, part in zip(indices, parts, strict=True))
    return [found[index] for index in range(len(samples))]


def _network(patcher: Any) -> Any:
    return patcher.get_model_object("diffusion_model")


def _settings(value: Any) -> dict[str, Any]:
    kinds = (*PLAIN, tuple, Tensor, FunctionType, torch.dtype, Enum)
    settings = {
        key: item
        for key, item in getattr(value, "__dict__", {}).items()
        if item is not None and not key.startswith("_") and isinstance(item, kinds)
    }
    if isinstance(value, nn.Module):
        settings.pop("training", None)
    if isinstance(value, WeightAdapterBase):
        settings["weights"] = value.weights
    return settings


def _class_name(value: Any) -> str:
    return type(value).__qualname__


def _name(value: Any, attribute: str) -> str:
    return getattr(getattr(value, attribute, None), "name", "")


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _readable(count: int) -> str:
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)
