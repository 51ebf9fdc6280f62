"""Which models are on the device at what time: all at once, or one after another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import comfy.model_management as mm
import comfy.sampler_helpers
import comfy.utils
from comfy.patcher_extension import WrappersMP
from comfy.sampler_helpers import estimate_memory, get_additional_models

from .clones import OURS

POLICIES = ("auto", "keep", "swap")
#: The host's key for copies of a model on other GPUs, between which it splits the conditioning of each call.
SHARED_WORK = "multigpu"
POOL = "multigpu_thread_pool"  # the host's option for the threads of these GPUs


def fits_together(
    patchers: Sequence[Any],
    conds: Sequence[dict[str, Any]],
    latent_shape: Sequence[int],
    options: Sequence[dict[str, Any]] | None = None,
) -> bool:
    """Whether all weights and the working memory of one model fit on the devices, by the host's estimate.

    conds: of each patcher, as its guider has them; they bring ControlNets, and images that take working memory;
    latent_shape: as the host packs it for the sampler; options: of each guider, if not those of the patchers.
    """
    if getattr(mm, "DISABLE_SMART_MEMORY", False) and len({id(patcher.model) for patcher in patchers}) > 1:
        return False  # the host unloads all others whenever it loads one
    weights: dict[Any, dict[int, int]] = defaultdict(dict)  # by device, of each model once, in bytes
    working: dict[Any, float] = defaultdict(float)
    options = options or [patcher.model_options for patcher in patchers]
    for patcher, own, set_up in zip(patchers, conds, options, strict=True):
        brought, to_control = get_additional_models(own, patcher.model_dtype())
        for each in (patcher, *brought, *patcher.get_nested_additional_models()):
            weights[each.load_device][id(each.model)] = each.model_size()
        needed = estimate_memory(patcher, shape_of_window(latent_shape, set_up), own)[0] + to_control
        working[patcher.load_device] = max(working[patcher.load_device], needed)
    return all(fits_on(device, sum(sizes.values()), working[device]) for device, sizes in weights.items())


def fits_on(device: Any, weights: float, working: float) -> bool:
    """Whether so many bytes fit, counting what the host would unload."""
    held = sum(patcher.loaded_size() for patcher in mm.loaded_models() if patcher and patcher.load_device == device)
    needed = weights * 1.1 + max(mm.minimum_inference_memory(), working + mm.extra_reserved_memory())
    return needed <= mm.get_free_memory(device) + held


def shape_of_window(latent_shape: Sequence[int], options: dict[str, Any]) -> list[int]:
    """What a model is given at once: with context windows as many frames as one of them has."""
    shape, handler = list(latent_shape), options.get("context_handler")
    dim, length = getattr(handler, "dim", None), getattr(handler, "context_length", None)
    if isinstance(dim, int) and isinstance(length, int) and 0 <= dim < len(shape) and len(shape) > 3:
        shape[dim] = min(shape[dim], length)
    return shape


def share_weights(patchers: Sequence[Any]) -> bool:
    """Whether two of `patchers` are variants of one model, so that only one of them can be applied at a time."""
    return len({id(patcher.model) for patcher in patchers}) < len(patchers)


def unload_model(patcher: Any) -> None:
    """Unload one model, also from other GPUs that share its work; the others stay where they are."""
    for each in (patcher, *patcher.get_additional_models_with_key(SHARED_WORK)):
        others = [loaded for loaded in mm.current_loaded_models if not each.is_clone(loaded.model)]
        mm.free_memory(1e30, each.load_device, keep_loaded=others)


def keep_pinned(clone: Any) -> None:
    """Let a clone be deleted without unpinning weights that its original still uses (the host's `__del__`)."""
    if hasattr(clone, "pinned"):
        clone.pinned = set()


class StageLoader:
    """Loads one stage's model: at set-up, as the host does, or deferred to its first step.

    Later it asks again whenever the host has evicted the model to make room for another.
    """

    def __init__(self, guider: Any, deferred: bool) -> None:
        self._deferred, self._options = deferred, guider.model_options
        self._prepare: Callable[[], tuple[Any, Any, list]]
        self._extra_models: list[Any] = []  # ControlNets and their like
        self._loaded: list[tuple[Any, int]] | None = None  # MODELs and how much of each was put on the device
        self._patcher: Any = None  # once it is set up
        self._copies: list[Any] = []  # on other GPUs, which were loaded after set-up
        self.for_calls: dict[str, Any] = {}  # options of every call, of those copies
        wrappers = guider.model_options.setdefault("transformer_options", {}).setdefault("wrappers", {})

        def prepare_sampling(*args: Any, **kwargs: Any) -> tuple[Any, Any, list]:
            return self._prepare_sampling(*args, **kwargs)

        # Replaces the loader of an outer run, for which a stitched model is one stage.
        wrappers.setdefault(WrappersMP.PREPARE_SAMPLING, {})[OURS] = [prepare_sampling]

    def _prepare_sampling(
        self, executor: Any, model: Any, noise_shape: Any, conds: Any, **kwargs: Any
    ) -> tuple[Any, Any, list]:
        shape = shape_of_window(noise_shape, self._options)  # windows that belong to the run are on its last model only
        self._prepare = lambda: executor(model, shape, conds, **kwargs)
        self._patcher = model
        # Some models read the text with weights of their own at set-up (Anima, LTX-2 with sound, SenseNova).
        reads_text = any(name.startswith("preprocess_") for name in dir(type(model.model.diffusion_model)))
        if self._deferred and not reads_text and not changes_shapes(model):
            # Set-up reads model_sampling and its like from the model, so the patches of this clone must be in place,
            # and those of another one out of the way.
            model.unpatch_model(unpatch_weights=False)
            model.patch_model(load_weights=False)
        else:
            self.load()
        return model.model, conds, self._extra_models

    def load(self) -> None:
        """Make room and load, by the host's own rules."""
        before = {id(patcher) for patcher in mm.loaded_models()}
        real_model, _, models = self._prepare()
        self._extra_models[:] = models
        own = {id(patcher) for patcher in models}
        self._loaded = [
            (patcher, patcher.loaded_size())
            for patcher in mm.loaded_models()
            if patcher and (patcher.model is real_model or id(patcher) in own or id(patcher) not in before)
        ]

    def load_late(self) -> None:
        """As `load`, and have copies on other GPUs share the work, which the host sees to at set-up."""
        self.load()
        prepare = getattr(comfy.sampler_helpers, "prepare_model_patcher_multigpu_clones", None)
        found: dict[str, Any] = {}
        copies = [] if prepare is None else prepare(self._patcher, self._extra_models, found)
        for copy in copies:
            copy.pre_run()
        self._copies = copies
        if not copies:
            return
        if POOL not in self.for_calls:
            devices = [self._patcher.load_device, *(copy.load_device for copy in copies)]
            found[POOL] = comfy.multigpu.MultiGPUThreadPool(devices)
        self.for_calls |= found

    def is_loaded(self, in_full: bool) -> bool:
        """Whether everything is still on the device; in_full: as much of it as after the last `load`."""
        if self._loaded is None:
            return False
        present = {id(patcher) for patcher in mm.loaded_models()}
        return all(
            id(patcher) in present and (not in_full or patcher.loaded_size() >= size) for patcher, size in self._loaded
        )

    def mark_used(self) -> None:
        """Mark the model as in use for the host: a ControlNet's VAE may evict it for a moment."""
        own = {id(patcher) for patcher, _ in self._loaded or ()}
        for loaded in mm.current_loaded_models:
            loaded.currently_used = id(loaded.model) in own

    def release(self) -> None:
        """Break the reference cycle of run, options and loader.

        The host takes back the patches of what it lists as loaded when another variant comes; those of a MODEL that
        was set up, but never loaded or evicted since, are ours to take back.
        """
        if self._patcher is not None and not any(found.model is self._patcher for found in mm.current_loaded_models):
            self._patcher.unpatch_model(unpatch_weights=False)
        if self.for_calls:
            self.for_calls.pop(POOL).shutdown()
        for copy in self._copies:
            copy.cleanup()
        self._patcher, self._copies, self.for_calls = None, [], {}
        self._prepare = _released
        self._loaded, self._options = None, {}


def changes_shapes(patcher: Any) -> bool:
    """Whether a LoRA reshapes weights: one on `patcher`, or another variant's now in place (control LoRAs).

    The host's set-up reads the number of conditioning channels from these shapes (Flux, Wan, HunyuanVideo 1.5).
    """
    in_place = ((comfy.utils.get_attr(patcher.model, key), kept.weight) for key, kept in patcher.backup.items())
    return any(now.shape != original.shape for now, original in in_place) or any(
        _pads(patch[1]) for patches in patcher.patches.values() for patch in patches
    )


def _pads(patch: Any) -> bool:
    if getattr(patch, "name", None) == "lora":
        return len(patch.weights) > 5 and patch.weights[5] is not None
    return isinstance(patch, tuple) and patch[0] == "diff" and len(patch[1]) > 1 and bool(patch[1][1]["pad_weight"])


def _released() -> tuple[Any, Any, list]:
    raise RuntimeError("a stage was asked for its model after its run had ended")
