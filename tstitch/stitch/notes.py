"""What a person should know of patches that cannot keep to the steps of one model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from comfy.patcher_extension import CallbacksMP, WrappersMP

from ..errors import StitchError
from ..host.clones import OURS
from ..host.model_options import leaves

#: Wrappers in which packs exchange functions of the host for as long as a model samples.
AROUND_SAMPLING = (WrappersMP.OUTER_SAMPLE, WrappersMP.SAMPLER_SAMPLE, WrappersMP.CALC_COND_BATCH)


def settings_note(names: Sequence[str], patchers: Sequence[Any]) -> str | None:
    """Of settings that patches switch on before a run and off after it, such as torch's fp16 accumulation."""
    if len(names) < 2:
        return None
    calls = (CallbacksMP.ON_PRE_RUN, CallbacksMP.ON_CLEANUP)
    found = [
        name
        for name, patcher in zip(names, patchers, strict=True)
        if any(callbacks for call in calls for callbacks in patcher.callbacks.get(call, {}).values())
    ]
    if not found:
        return None
    return f"What patches of {_and(found)} switch on before a run and off after it holds in the steps of all models."


@dataclass(frozen=True)
class NetworkState:
    """What a MODEL's network is changed by; compared between the join and the run."""

    weights: Any
    objects: frozenset[tuple[str, int]]
    patches: frozenset[int]

    @classmethod
    def of(cls, patcher: Any) -> NetworkState:
        options = patcher.model_options
        told = options.get("transformer_options", {})
        around = [
            each
            for source in (patcher.wrappers, told.get("wrappers", {}))
            for kind in (WrappersMP.APPLY_MODEL, WrappersMP.DIFFUSION_MODEL)
            for key, found in source.get(kind, {}).items()
            if key != OURS
            for each in found
        ]
        inside = [*leaves(told.get("patches", {})), *leaves(told.get("patches_replace", {}))]
        injected = [each for found in patcher.injections.values() for each in found]
        function = options.get("model_function_wrapper")
        return cls(
            patcher.patches_uuid,
            frozenset((name, id(found)) for name, found in patcher.object_patches.items()),
            frozenset(map(id, [*around, *inside, *injected, *([function] if function is not None else [])])),
        )

    def note(self, now: NetworkState, finishing: str) -> str | None:
        """Of what has come since: it fits one network, so it is the finishing model's."""
        kinds = {
            "LoRAs or other weights": now.weights != self.weights,
            "another sampling or other parts of the model": bool(now.objects - self.objects),
            "patches of the network": bool(now.patches - self.patches),
        }
        found = [kind for kind, is_new in kinds.items() if is_new]
        if not found:
            return None
        return (
            f"Put on the joined MODEL, {_and(found)} act in the steps of {finishing} only. For all steps, put such"
            " things on each model before they are joined."
        )


@contextmanager
def one_sentence(names: Sequence[str], guiders: Sequence[Any]) -> Iterator[None]:
    """Name the patch where one that works around all of the sampling does not get along with several models.

    AnimateDiff-Evolved looks for its own options in every call, SpotDiffusion for the host's own sampler.
    """
    try:
        yield
    except (KeyError, AttributeError) as error:
        found = [name for name, guider in zip(names, guiders, strict=True) if wraps_sampling(guider)]
        if not found or len(names) < 2:
            raise
        raise StitchError(
            f"A patch of {_and(found)} works around all of the sampling, and failed as other models take turns"
            f" ({type(error).__name__}: {error}): put the same patch on every model, or sample in two samplers."
        ) from error


def wraps_sampling(guider: Any) -> bool:
    wrappers = getattr(guider, "model_options", {}).get("transformer_options", {}).get("wrappers", {})
    own = getattr(getattr(guider, "model_patcher", None), "wrappers", {})
    return any(
        key != OURS and found
        for each in (wrappers, own)
        for kind in AROUND_SAMPLING
        for key, found in each.get(kind, {}).items()
    )


def _and(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
