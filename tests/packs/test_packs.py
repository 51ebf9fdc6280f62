"""Packs of other people, as they lie in the folder that TSTITCH_PACKS names: with one model in every stage, whatever
they add draws bit for bit what it draws on the model itself.

Nothing here knows a pack by name. A node that fails without T-Stitch, draws something else each time or needs what this
kit has not, is skipped with the reason. `python dev.py test --packs FOLDER` runs this and prints a table.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

if "COMFYUI_PATH" not in os.environ or "TSTITCH_PACKS" not in os.environ:
    pytest.skip("TSTITCH_PACKS names no folder of packs", allow_module_level=True)

import utils.extra_config  # first, as in main.py: `nodes` puts another `utils` before it

# isort: split
import comfy.sample
import comfy.samplers
import folder_paths
import server
import torch
from comfy.samplers import CFGGuider
from torch import Tensor

import nodes
from tstitch.errors import StitchError
from tstitch_testing import architectures
from tstitch_testing.halves import whole
from tstitch_testing.models import conditioning
from tstitch_testing.packs import STEPS, Added, LackingError, kit, run
from tstitch_testing.sampling import ksample, stitched
from tstitch_testing.unets import unet_model

FOLDER = Path(os.environ["TSTITCH_PACKS"]).expanduser().resolve()
COUNTS: dict[str, Counter[str]] = {}
latent = torch.zeros(1, 4, 8, 8)


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


def compare(pack: Added, drawn: Callable[[bool], Tensor]) -> None:
    """Both draw, the model itself twice, as what differs by itself tells nothing.

    drawn: on the joined MODEL, if true, or else on the model itself.
    """
    counts = COUNTS.setdefault(pack.name, Counter())
    try:
        first, second = drawn(False), drawn(False)
    except LackingError as lacking:
        counts["skipped"] += 1
        pytest.skip(str(lacking))
    except Exception as error:
        counts["skipped"] += 1
        pytest.skip(f"without T-Stitch too: {type(error).__name__}: {str(error)[:200]}")
    if not isinstance(first, Tensor):
        counts["skipped"] += 1
        pytest.skip("it gives no tensor")
    if not torch.equal(first, second):
        counts["random"] += 1
        pytest.skip("it draws something else each time")
    if not torch.isfinite(first).all():
        counts["skipped"] += 1
        pytest.skip("it draws no numbers on so small a model")
    assert torch.equal(drawn(True), first)
    counts["exact"] += 1


def on(joined: bool, model: Any) -> Any:
    return everywhere(model) if joined else model


@pytest.mark.parametrize(("pack", "name"), cases("samplers"))
def test_a_sampler(pack: Added, name: str) -> None:
    model = unet_model(1)
    compare(pack, lambda joined: ksample(on(joined, model), name, steps=STEPS, latent=latent))


@pytest.mark.parametrize(("pack", "name"), cases("schedulers"))
def test_a_scheduler(pack: Added, name: str) -> None:
    model = unet_model(1)
    compare(pack, lambda joined: ksample(on(joined, model), "euler", name, steps=STEPS, latent=latent))


def node_cases(*gives: str, model: bool = True, pipes: bool = True) -> list[Any]:
    """Nodes that give one of these types. model: only those that are given a MODEL, with `pipes` also in one."""
    return [
        pytest.param(pack, name, id=f"{pack.name}-{name}")
        for pack in PACKS
        for name, taken, given in pack.types()
        if set(gives) & set(given) and (not model or taken & (pack.with_a_model if pipes else {"MODEL"}))
    ]


@pytest.mark.parametrize(("pack", "name"), node_cases("SAMPLER", model=False))
def test_a_node_that_gives_a_sampler(pack: Added, name: str) -> None:
    model = unet_model(1)

    def drawn(joined: bool) -> Tensor:
        given = kit(on(joined, model))
        sampler = run(pack, name, given)["SAMPLER"]
        noise = comfy.sample.prepare_noise(latent, 1)
        conds = conditioning(0.4), conditioning(-0.2)
        return comfy.sample.sample_custom(
            given["MODEL"], noise, 3.0, sampler, given["SIGMAS"], *conds, latent, disable_pbar=True, seed=1
        )

    compare(pack, drawn)


@pytest.mark.parametrize(("pack", "name"), node_cases("SIGMAS"))
def test_a_node_that_gives_noise_levels(pack: Added, name: str) -> None:
    model = unet_model(1)
    compare(pack, lambda joined: run(pack, name, kit(on(joined, model)))["SIGMAS"])


@pytest.mark.parametrize(("pack", "name"), node_cases("GUIDER"))
def test_a_guider(pack: Added, name: str) -> None:
    model = unet_model(1)

    def drawn(joined: bool) -> Tensor:
        given = kit(on(joined, model))
        return whole(run(pack, name, given)["GUIDER"], latent, given["SIGMAS"])

    compare(pack, drawn)


SAMPLING = {case.id for case in node_cases("LATENT", "IMAGE")}
CONTROLS = [
    pytest.param(pack, name, maker, id=f"{pack.name}-{name}-{maker}")
    for pack in PACKS
    for name, taken, given in pack.types()
    if {"CONTROL_NET", "CONDITIONING"} <= taken and "CONDITIONING" in given
    for maker in [*pack.makers("CONTROL_NET"), None]
]


@pytest.mark.parametrize(("pack", "name", "maker"), CONTROLS)
def test_a_node_that_applies_controlnets(pack: Added, name: str, maker: str | None) -> None:
    """Those that nodes of the pack make, and the host's own."""
    model = unet_model(1)

    def drawn(joined: bool) -> Tensor:
        given = kit(model)
        if maker is not None:
            given["CONTROL_NET"] = run(pack, maker, given)["CONTROL_NET"]
        prompt = run(pack, name, given)["CONDITIONING"]
        return ksample(on(joined, model), steps=STEPS, latent=latent, positive=prompt)

    compare(pack, drawn)


PATCHES = [case for case in node_cases("MODEL", pipes=False) if case.id not in SAMPLING]


@pytest.mark.parametrize(("pack", "name"), PATCHES)
def test_a_patch(pack: Added, name: str) -> None:
    """On the model of all stages; on one stage it works or is refused in a sentence."""

    def patched(seed: int) -> Any:
        return run(pack, name, kit(unet_model(seed)))["MODEL"]

    def drawn(model: Any) -> Tensor:
        return ksample(model, steps=STEPS, latent=latent)

    compare(pack, lambda joined: drawn(on(joined, patched(1))))
    for stages in ([patched(1), unet_model(2)], [unet_model(1), patched(2)]):
        try:
            assert torch.isfinite(drawn(stitched(stages, "0.5"))).all()
        except StitchError as refused:
            sys.stdout.write(f"{name} on one stage: {refused}\n")


@pytest.mark.parametrize(("pack", "name"), node_cases("LATENT", "IMAGE"))
def test_a_node_that_samples(pack: Added, name: str) -> None:
    """KSamplers of other packs, detailers and upscalers."""
    model = unet_model(1)
    calls: list[int] = []
    model.model.diffusion_model.register_forward_pre_hook(lambda *_: calls.append(1))

    def drawn(joined: bool) -> Tensor:
        outputs = run(pack, name, kit(on(joined, model)))
        if not calls:
            raise LackingError("it does not sample")
        return outputs["LATENT"]["samples"] if "LATENT" in outputs else outputs["IMAGE"]

    compare(pack, drawn)


def write_gguf_file(folder: Path) -> None:
    """A small Stable Diffusion 3, its matrices in eight bits."""
    gguf = pytest.importorskip("gguf")
    architecture = architectures.sd3(2, None)
    shapes = {key.removeprefix(architecture.prefix): shape for key, shape in architecture.shapes().items()}
    writer = gguf.GGUFWriter(folder / "small.gguf", "sd3")
    for (key, shape), value in zip(shapes.items(), architectures.random_weights(shapes, 1), strict=True):
        packed = len(shape) == 2 and shape[-1] % 32 == 0
        kind = gguf.GGMLQuantizationType.Q8_0 if packed else gguf.GGMLQuantizationType.F32
        writer.add_tensor(key, gguf.quants.quantize(value.numpy(), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def takes_gguf(name: str) -> bool:
    """Whether a node makes a MODEL of a file of the folder for such files."""
    node = nodes.NODE_CLASS_MAPPINGS[name]
    return "gguf" in name.lower() and tuple(node.RETURN_TYPES) == ("MODEL",)


LOADERS = [pytest.param(pack, name, id=name) for pack in PACKS for name in pack.nodes if takes_gguf(name)]


@pytest.mark.parametrize(("pack", "name"), LOADERS)
def test_a_loader_of_gguf_files(pack: Added, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In all stages, and as the first and the last of two, with a LoRA on one of them."""
    write_gguf_file(tmp_path)
    for key in [key for key, (_, kinds) in folder_paths.folder_names_and_paths.items() if ".gguf" in kinds]:
        monkeypatch.setitem(folder_paths.folder_names_and_paths, key, ([str(tmp_path)], {".gguf"}))
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "diffusion_models", ([str(tmp_path)], {".gguf"}))
    folder_paths.filename_list_cache.clear()
    prompt = [[torch.full((1, 3, 4096), 0.1), {"pooled_output": torch.full((1, 2048), 0.1)}]]

    def drawn(model: Any) -> Tensor:
        guider = CFGGuider(model)
        guider.set_conds(prompt, prompt)
        guider.set_cfg(1.0)
        sigmas = comfy.samplers.KSampler(model, STEPS, model.load_device, "euler", "simple").sigmas
        return whole(guider, torch.zeros(1, 16, 8, 8), sigmas)

    try:
        model = run(pack, name, {})["MODEL"]
    except Exception as error:
        pytest.skip(f"without T-Stitch too: {type(error).__name__}: {str(error)[:200]}")
    compare(pack, lambda joined: drawn(on(joined, model)))
    key = next(key for key in model.model_state_dict() if key.endswith("joint_blocks.0.x_block.attn.qkv.weight"))
    changed = model.clone()
    changed.add_patches({key: ("diff", (torch.full((384, 128), 0.05),))}, 1.0)
    alone, both = drawn(changed), drawn(stitched([model, changed], "0.5"))
    assert not torch.equal(alone, drawn(model))
    assert torch.isfinite(both).all()
    assert torch.equal(drawn(stitched([model, changed], "0")), alone)
    assert torch.equal(drawn(stitched([changed, model], "1")), alone)
