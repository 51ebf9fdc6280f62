"""Packs of other people: what they add to the host, and values for the inputs of their nodes."""

from __future__ import annotations

import asyncio
import functools
import inspect
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import comfy.samplers
import comfy.sd
import torch
from comfy_extras.nodes_custom_sampler import Noise_RandomNoise
from spandrel import ModelLoader
from spandrel.architectures.ESRGAN import ESRGAN

import nodes
from tstitch_testing.halves import cfg_guider
from tstitch_testing.models import conditioning
from tstitch_testing.stand_ins import tiny_vae_weights
from tstitch_testing.unets import controlnet

STEPS = 6
SIDE = 64
WIDGETS = {"INT": 0, "FLOAT": 0.0, "STRING": "", "BOOLEAN": False, "COMBO": ""}
HIDDEN = {"UNIQUE_ID": "1", "PROMPT": {}, "EXTRA_PNGINFO": {}}
#: How many nodes of the pack stand behind an input at most, one making what the next takes.
DEPTH = 3
SAMPLED = ("MODEL", "CONDITIONING", "LATENT")
#: Types that more than one pack knows.
COMMON = {"MODEL", "CLIP", "VAE", "CONDITIONING", "LATENT", "IMAGE", "MASK", "SIGMAS", "SAMPLER", "NOISE", "GUIDER"}
COMMON |= {"CONTROL_NET", "UPSCALE_MODEL", "*", *WIDGETS}


class Added:
    """What a pack adds to the host."""

    def __init__(self, path: Path) -> None:
        known = set(nodes.NODE_CLASS_MAPPINGS), set(comfy.samplers.SAMPLER_NAMES), set(comfy.samplers.SCHEDULER_NAMES)
        self.name = path.name
        self.loaded = bool(asyncio.run(nodes.load_custom_node(str(path))))
        self.nodes = sorted(set(nodes.NODE_CLASS_MAPPINGS) - known[0])
        self.samplers = sorted(set(comfy.samplers.SAMPLER_NAMES) - known[1])
        self.schedulers = sorted(set(comfy.samplers.SCHEDULER_NAMES) - known[2])
        commit = ["git", "-C", str(path), "rev-parse", "--short=12", "HEAD"]
        found = subprocess.run(commit, capture_output=True, text=True, check=False)
        self.commit = found.stdout.strip() or "no git"

    def types(self) -> Iterator[tuple[str, set[str], tuple[str, ...]]]:
        """Node id, and the types that the node takes and gives."""
        for name in self.nodes:
            node = nodes.NODE_CLASS_MAPPINGS[name]
            try:
                taken = [spec[0] for spec in inputs_of(node).values()]
                yield name, {kind for kind in taken if isinstance(kind, str)}, tuple(map(str, node.RETURN_TYPES))
            except Exception:  # a node that cannot tell its inputs
                continue

    @functools.cached_property
    def with_a_model(self) -> set[str]:
        """Types of this pack that have a MODEL in them, such as pipes."""
        found, before = {"MODEL"}, set[str]()
        while found != before:
            before = set(found)
            for _, taken, given in self.types():
                if taken & found:
                    found |= {kind for kind in given if kind not in COMMON}
        return found

    def makers(self, kind: str) -> list[str]:
        """Nodes that give `kind`, those with the fewest inputs first."""
        found = [(len(taken), name) for name, taken, given in self.types() if kind in given and kind not in taken]
        return [name for _, name in sorted(found)]


def inputs_of(node: Any) -> dict[str, Any]:
    """Those that are required, and what a sampling node may take from a pipe instead."""
    inputs = node.INPUT_TYPES()
    optional = {name: spec for name, spec in inputs.get("optional", {}).items() if spec[0] in SAMPLED}
    return {**inputs.get("required", {}), **optional}


class LackingError(Exception):
    """A node needs what the kit has not."""


@functools.cache
def tiny_vae() -> Any:
    return comfy.sd.VAE(sd=tiny_vae_weights())


def kit(model: Any) -> dict[str, Any]:
    picture = torch.rand(1, SIDE, SIDE, 3, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(1, SIDE, SIDE)
    mask[:, 16:48, 16:48] = 1
    return {
        "MODEL": model,
        "CLIP": object(),
        "VAE": tiny_vae(),
        "CONDITIONING": conditioning(0.4),
        "LATENT": {"samples": torch.zeros(1, 4, 8, 8)},
        "IMAGE": picture,
        "MASK": mask,
        "NOISE": Noise_RandomNoise(1),
        "GUIDER": cfg_guider(model),
        "CONTROL_NET": controlnet(),
        "UPSCALE_MODEL": upscale_model(),
        "SIGMAS": comfy.samplers.KSampler(model, STEPS, model.load_device, "euler", "normal").sigmas,
        "SAMPLER": comfy.samplers.sampler_object("euler"),
    }


def upscale_model() -> Any:
    """A small ESRGAN of random weights, as the host loads one from a file."""
    torch.manual_seed(0)
    network = ESRGAN(num_filters=4, num_blocks=1, scale=2)
    return ModelLoader().load_from_state_dict(network.state_dict()).eval()


def arguments(pack: Added, node: Any, values: dict[str, Any], depth: int = DEPTH) -> dict[str, Any]:
    """The required inputs: sockets from the kit or from nodes of the pack, widgets as the page sets them."""
    inputs = node.INPUT_TYPES()
    found = {name: HIDDEN[kind] for name, kind in inputs.get("hidden", {}).items() if kind in HIDDEN}
    for name, spec in inputs_of(node).items():
        kind, options = spec[0], spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}
        choices = kind if isinstance(kind, (list, tuple)) else options.get("options")
        if name == "steps" and kind == "INT":
            found[name] = STEPS
        elif isinstance(kind, str) and kind in values:
            found[name] = values[kind]
        elif "default" in options:
            found[name] = small(name, options) if kind in ("INT", "FLOAT") else options["default"]
        elif choices:
            found[name] = choices[0]
        elif kind in WIDGETS:
            found[name] = options.get("min", WIDGETS[kind])
        else:
            found[name] = made(pack, str(kind), values, depth)
    return found


def small(name: str, options: dict[str, Any]) -> Any:
    """The value of a number as the page sets it, but pictures and tiles of no more than 64 pixels."""
    value = options["default"]
    sized = any(word in name for word in ("width", "height", "size")) and value > SIDE
    return max(options.get("min", SIDE), type(value)(SIDE)) if sized else value


def made(pack: Added, kind: str, values: dict[str, Any], depth: int) -> Any:
    for name in pack.makers(kind) if depth else []:
        try:
            value = run(pack, name, values, depth - 1)[kind]
        except Exception:  # another one may do
            continue
        if value is not None:
            return value
    raise LackingError(f"nothing here makes {kind}")


@torch.inference_mode()  # as the host runs its nodes
def run(pack: Added, name: str, values: dict[str, Any], depth: int = DEPTH) -> dict[str, Any]:
    """Outputs by type, the first of each."""
    node = nodes.NODE_CLASS_MAPPINGS[name]
    call = getattr(node() if not hasattr(node, "define_schema") else node, node.FUNCTION, None) or node.execute
    given = arguments(pack, node, values, depth)
    if getattr(node, "INPUT_IS_LIST", False):
        given = {key: [value] for key, value in given.items()}
    result = call(**given)
    if inspect.isawaitable(result):
        result = asyncio.run(result)  # type: ignore[arg-type]
    result = getattr(result, "result", result)
    result = result.get("result", ()) if isinstance(result, dict) else result
    lists = getattr(node, "OUTPUT_IS_LIST", None) or [False] * len(result)
    outputs = [value[0] if is_list and value else value for value, is_list in zip(result, lists, strict=False)]
    return dict(reversed(list(zip(map(str, node.RETURN_TYPES), outputs, strict=False))))
