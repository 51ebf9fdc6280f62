"""Packs of other people, as they lie in the folder that TSTITCH_PACKS names: with one model in every stage, whatever
they add draws bit for bit what it draws on the model itself.

Nothing here knows a pack by name. A node that fails without T-Stitch, draws something else each time or needs what this
kit has not, is skipped with the reason. `python dev.py test --packs FOLDER` runs this and prints a table.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

if "COMFYUI_PATH" not in os.environ or "TSTITCH_PACKS" not in os.environ:
    pytest.skip("TSTITCH_PACKS names no folder of packs", allow_module_level=True)

import utils.extra_config  # first, as in main.py: `nodes` puts another `utils` before it

# isort: split
import comfy.samplers
import server
import torch
from torch import Tensor

import nodes
from tstitch.errors import StitchError
from tstitch_testing.models import conditioning
from tstitch_testing.sampling import ksample, stitched
from tstitch_testing.unets import unet_model

FOLDER = Path(os.environ["TSTITCH_PACKS"]).expanduser().resolve()
STEPS = 6
COUNTS: dict[str, Counter[str]] = {}
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")


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


async def start() -> None:
    """As ComfyUI's main.py: packs find the server, and may add routes to it."""
    server.PromptServer(asyncio.get_running_loop())
    await nodes.init_public_apis()
    assert utils.extra_config


asyncio.run(start())
PACKS = [Added(path) for path in sorted(FOLDER.iterdir()) if (path / "__init__.py").is_file()]


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    """For docs/packs.md."""
    yield
    lines = ["| pack | commit | exact | differs by itself | not for this kit |", "|---|---|---|---|---|"]
    for pack in PACKS:
        found = COUNTS.get(pack.name, Counter())
        lines.append(f"| {pack.name} | {pack.commit} | {found['exact']} | {found['random']} | {found['skipped']} |")
    sys.stdout.write("\n" + "\n".join(lines) + "\n")


def cases(kind: str) -> list[Any]:
    return [pytest.param(pack, name, id=f"{pack.name}-{name}") for pack in PACKS for name in getattr(pack, kind)]


@pytest.mark.parametrize("pack", PACKS, ids=lambda pack: pack.name)
def test_the_pack_loads(pack: Added) -> None:
    if not pack.loaded:
        pytest.skip("the host could not load it: see its log for what it needs")


def everywhere(model: Any) -> Any:
    """`model` in three stages."""
    return stitched([model, model, model], "0.3, 0.6")


def compare(pack: Added, plain: Any, joined: Any) -> None:
    """Both draw; `plain` twice, as what differs by itself tells nothing."""
    counts = COUNTS.setdefault(pack.name, Counter())
    try:
        first, second = plain(), plain()
    except Exception as error:
        counts["skipped"] += 1
        pytest.skip(f"without T-Stitch too: {type(error).__name__}: {str(error)[:200]}")
    if not torch.equal(first, second):
        counts["random"] += 1
        pytest.skip("it draws something else each time")
    if not torch.isfinite(first).all():
        counts["skipped"] += 1
        pytest.skip("it draws no numbers on so small a model")
    assert torch.equal(joined(), first)
    counts["exact"] += 1


latent = torch.zeros(1, 4, 8, 8)


@pytest.mark.parametrize(("pack", "name"), cases("samplers"))
def test_a_sampler(pack: Added, name: str) -> None:
    model = unet_model(1)
    compare(
        pack,
        lambda: ksample(model, name, steps=STEPS, latent=latent),
        lambda: ksample(everywhere(model), name, steps=STEPS, latent=latent),
    )


@pytest.mark.parametrize(("pack", "name"), cases("schedulers"))
def test_a_scheduler(pack: Added, name: str) -> None:
    model = unet_model(1)
    compare(
        pack,
        lambda: ksample(model, "euler", name, steps=STEPS, latent=latent),
        lambda: ksample(everywhere(model), "euler", name, steps=STEPS, latent=latent),
    )


class LackingError(Exception):
    """A node needs what the kit has not."""


def kit(model: Any) -> dict[str, Any]:
    return {
        "MODEL": model,
        "CONDITIONING": conditioning(0.4),
        "LATENT": {"samples": latent.clone()},
        "SIGMAS": comfy.samplers.KSampler(model, STEPS, model.load_device, "euler", "normal").sigmas,
        "SAMPLER": comfy.samplers.sampler_object("euler"),
    }


def arguments(node: Any, values: dict[str, Any]) -> dict[str, Any]:
    """The required inputs: sockets from the kit, widgets as the page sets them, few steps."""
    found = {}
    for name, spec in node.INPUT_TYPES().get("required", {}).items():
        kind, options = spec[0], spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}
        choices = kind if isinstance(kind, (list, tuple)) else options.get("options")
        if name == "steps" and kind == "INT":
            found[name] = STEPS
        elif not isinstance(kind, (list, tuple)) and kind in values:
            found[name] = values[kind]
        elif "default" in options:
            found[name] = options["default"]
        elif choices:
            found[name] = choices[0]
        elif kind in WIDGETS:
            found[name] = {"INT": options.get("min", 0), "FLOAT": options.get("min", 0.0), "STRING": ""}.get(
                kind, False
            )
        else:
            raise LackingError(f"{name} is {kind}")
    return found


def run(node: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Outputs by type, the first of each."""
    call = getattr(node() if not hasattr(node, "define_schema") else node, node.FUNCTION, None) or node.execute
    result = call(**arguments(node, values))
    if inspect.isawaitable(result):
        result = asyncio.run(result)  # type: ignore[arg-type]
    result = getattr(result, "result", result)
    result = result.get("result", ()) if isinstance(result, dict) else result
    return dict(reversed(list(zip(node.RETURN_TYPES, result, strict=False))))


def types_of(node: Any) -> tuple[set[str], set[str]]:
    required = node.INPUT_TYPES().get("required", {}).values()
    return {spec[0] for spec in required if isinstance(spec[0], str)}, {str(kind) for kind in node.RETURN_TYPES}


def node_cases(gives: str) -> list[Any]:
    found = []
    for pack in PACKS:
        for name in pack.nodes:
            try:
                takes, makes = types_of(nodes.NODE_CLASS_MAPPINGS[name])
            except Exception:
                continue  # a node that cannot tell its inputs
            if "MODEL" in takes and gives in makes and (gives != "MODEL" or "LATENT" not in makes):
                found.append(pytest.param(pack, name, id=f"{pack.name}-{name}"))
    return found


@pytest.mark.parametrize(("pack", "name"), node_cases("MODEL"))
def test_a_patch(pack: Added, name: str) -> None:
    """On the model of all stages; on one stage it works or is refused in a sentence."""
    node = nodes.NODE_CLASS_MAPPINGS[name]

    def patched(model: Any) -> Any:
        try:
            return run(node, kit(model))["MODEL"]
        except LackingError as lacking:
            pytest.skip(str(lacking))

    def drawn(model: Any) -> Tensor:
        return ksample(model, steps=STEPS, latent=latent)

    compare(pack, lambda: drawn(patched(unet_model(1))), lambda: drawn(everywhere(patched(unet_model(1)))))
    for stages in ([patched(unet_model(1)), unet_model(2)], [unet_model(1), patched(unet_model(2))]):
        try:
            assert torch.isfinite(drawn(stitched(stages, "0.5"))).all()
        except StitchError as refused:
            sys.stdout.write(f"{name} on one stage: {refused}\n")


@pytest.mark.parametrize(("pack", "name"), node_cases("LATENT"))
def test_a_node_that_samples(pack: Added, name: str) -> None:
    node = nodes.NODE_CLASS_MAPPINGS[name]

    def drawn(model: Any) -> Tensor:
        try:
            return run(node, copy.copy(kit(model)))["LATENT"]["samples"]
        except LackingError as lacking:
            pytest.skip(str(lacking))

    model = unet_model(1)
    compare(pack, lambda: drawn(model), lambda: drawn(everywhere(model)))
