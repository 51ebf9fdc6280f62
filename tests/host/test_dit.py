"""Load DiT: published layouts, against the independent network of diffusers."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import logging
import math
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import comfy.sample
import comfy.samplers
import numpy as np
import pytest
import torch
from comfy.model_base import ModelType
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tstitch.errors import StitchError
from tstitch.families.class_labels import class_inputs
from tstitch.families.dit.checkpoint import read_dit
from tstitch.families.dit.model import build_dit
from tstitch.families.dit.network import DiT, DiTConfig
from tstitch.families.shared.attention import ATTENTION_TAKES_OPTIONS
from tstitch.families.shared.model_file import ModelFile
from tstitch_testing.checkpoints import (
    computing_as_the_original,
    diffusers_dit,
    dit_config,
    into_diffusers,
    original_weights,
    save,
    with_shared_embedders,
)
from tstitch_testing.models import conditioning
from tstitch_testing.sampling import stitched

LAYOUTS = [
    ("pt", ""),
    ("pt", "model"),
    ("pt", "ema"),
    ("pth", "state_dict"),
    ("bin", "params_ema"),
    ("safetensors", ""),
]


def load(path: Path, variant: str = "auto", heads: int = 2, dtype: torch.dtype | None = torch.float32) -> Any:
    weights = read_dit(path, variant=variant, heads=heads)
    return build_dit(weights, weights.variant.guided_channels, dtype)


def raw(patcher: Any, x: Tensor, timesteps: Tensor, labels: Tensor, **options: Any) -> Tensor:
    network, classes = patcher.model.diffusion_model, patcher.model.model_config.dit.classes
    with torch.no_grad():
        return network(
            x, timesteps, torch.nn.functional.one_hot(labels, classes + 1)[:, None, :classes].float(), **options
        )


def batch(config: DiTConfig, side: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    side = side or config.size
    x = torch.randn(2, config.channels, side, side, generator=torch.Generator().manual_seed(3))
    return x, torch.tensor([17.0, 803.0]), torch.tensor([5, config.classes])  # the second is the null class


def sample(
    model: Any, labels: str = "7, 3", steps: int = 4, cfg: float = 3.0, scheduler: str = "simple", **more: Any
) -> Tensor:
    inputs = class_inputs(model, labels)
    latent = inputs.latent["samples"]
    noise = comfy.sample.prepare_noise(latent, 0)
    arguments = (steps, cfg, more.pop("sampler", "euler"), scheduler, inputs.positive, inputs.negative, latent)
    return comfy.sample.sample(model, noise, *arguments, seed=0, disable_pbar=True, **more)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"patch": 4, "grid": 8},
        {"patch": 8, "grid": 4, "depth": 2},
        {"grid": 32, "depth": 2},
        {"learn_sigma": False, "classes": 10, "heads": 4, "width": 96},
    ],
    ids=["patch 2", "patch 4", "patch 8", "latent 64", "no sigma"],
)
def test_forward_is_that_of_diffusers_on_the_same_weights(changes: dict[str, Any], tmp_path: Path) -> None:
    config = dit_config(**changes)
    state = original_weights(config)
    oracle = computing_as_the_original(into_diffusers(state, diffusers_dit(config)))
    model = load(save(state, tmp_path / "DiT.pt"), heads=config.heads)
    x, timesteps, labels = batch(config)
    with torch.no_grad():
        expected = oracle(x, timesteps, labels).sample[:, : config.channels]
    torch.testing.assert_close(raw(model, x, timesteps, labels), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shared", [True, False], ids=["converted", "trained in diffusers"])
@pytest.mark.parametrize("side", [0, 48], ids=["own size", "larger"])
def test_a_file_in_the_diffusers_layout_computes_as_diffusers_does(shared: bool, side: int, tmp_path: Path) -> None:
    config = dit_config()
    oracle = diffusers_dit(config)
    if shared:
        oracle = with_shared_embedders(oracle)
    model = load(save(oracle.state_dict(), tmp_path / "diffusion_pytorch_model.safetensors"))
    found = model.model.model_config.dit
    assert (found.block_embedders, found.grid) == (not shared, 0)
    model.model.diffusion_model.config = dataclasses.replace(found, grid=config.grid)  # which such a file lacks
    x, timesteps, labels = batch(config, side)
    with torch.no_grad():
        expected = oracle(x, timesteps, labels).sample[:, : config.channels]
    torch.testing.assert_close(raw(model, x, timesteps, labels), expected, rtol=1e-5, atol=1e-5)


def test_the_config_beside_a_diffusers_file_tells_heads_and_size(tmp_path: Path) -> None:
    oracle = diffusers_dit(dit_config(heads=4, grid=32))
    oracle.save_config(tmp_path)
    weights = read_dit(save(oracle.state_dict(), tmp_path / "diffusion_pytorch_model.safetensors"))
    assert (weights.config.heads, weights.config.size) == (4, 64)


@pytest.mark.parametrize(("ending", "wrapper"), LAYOUTS)
def test_every_wrapping_gives_the_same_weights(ending: str, wrapper: str, tmp_path: Path) -> None:
    state = original_weights(dit_config())
    weights = read_dit(save(state, tmp_path / f"DiT.{ending}", wrapper), heads=2)
    assert set(weights.state) == set(state) - {"pos_embed"}
    assert all(torch.equal(weights.state[key], state[key]) for key in weights.state)
    assert weights.config == dit_config()


def test_numbers_of_numpy_beside_the_weights_are_no_code(tmp_path: Path) -> None:
    beside = {"args": argparse.Namespace(lr=np.float64(1e-4)), "step": np.int64(3), "fid": np.arange(3.0)}
    torch.save({"ema": original_weights(dit_config()), **beside}, tmp_path / "DiT.pt")
    assert read_dit(tmp_path / "DiT.pt", heads=2).config == dit_config()


@pytest.mark.parametrize("kind", [argparse.Namespace, dict])
@pytest.mark.parametrize(
    ("arguments", "variant"),
    [
        ({"model": "DiT-S/2"}, "DiT"),
        ({"model": "SiT-S/2", "path_type": "Linear", "prediction": "velocity"}, "SiT"),
        ({"model": "SiT-XL/2", "path_type": "linear", "prediction": "v", "enc_type": "dinov2-vit-b"}, "REPA"),
        ({"model": 3}, "DiT"),
    ],
)
def test_training_arguments_name_the_model(
    arguments: dict[str, Any], variant: str, kind: Callable[..., Any], tmp_path: Path
) -> None:
    state = original_weights(dit_config())
    torch.save({"ema": state, "model": state, "opt": {}, "args": kind(**arguments)}, tmp_path / "0400000.pt")
    weights = read_dit(tmp_path / "0400000.pt", heads=2)
    assert weights.facts["tstitch.variant"] == variant
    assert ("assumed" in weights.description) == (arguments["model"] == 3)


@pytest.mark.parametrize("argument", [{"path_type": "GVP"}, {"prediction": "noise"}])
def test_a_process_that_is_not_drawn_is_refused(argument: dict[str, str], tmp_path: Path) -> None:
    arguments = {"model": "SiT-S/2", "path_type": "Linear", "prediction": "velocity", **argument}
    torch.save({"ema": original_weights(dit_config()), "args": argparse.Namespace(**arguments)}, tmp_path / "last.pt")
    ((name, value),) = argument.items()
    with pytest.raises(StitchError, match=f"last.pt was trained with {name} {value}, .* {name} "):
        read_dit(tmp_path / "last.pt", heads=2)


def test_a_name_in_the_metadata_of_a_converted_file_comes_first(tmp_path: Path) -> None:
    torch.save({"ema": original_weights(dit_config()), "args": {"model": "SiT-S/2"}}, tmp_path / "DiT.pt")
    assert read_dit(tmp_path / "DiT.pt", "DiT", heads=2).facts["tstitch.variant"] == "DiT"


def test_averaged_weights_are_taken_out_of_their_wrapper(tmp_path: Path) -> None:
    """As common wrappers for averaging save themselves: both sets of weights, and counters."""
    state = original_weights(dit_config())
    averaged = {"ema_model." + key: value for key, value in state.items()}
    online = {"online_model." + key: torch.zeros_like(value) for key, value in state.items()}
    whole = {**online, **averaged, "initted": torch.tensor(True), "step": torch.tensor(7)}
    for number, content in enumerate(({"ema": whole}, whole, {f"ema.{key}": value for key, value in whole.items()})):
        path = tmp_path / f"{number}.pt"
        torch.save(content, path)
        weights = read_dit(path, heads=2)
        assert all(torch.equal(weights.state[key], state[key]) for key in weights.state)


@pytest.mark.skipif(not hasattr(torch.serialization, "safe_globals"), reason="this torch takes no list")
def test_what_others_let_torch_read_stays_readable(tmp_path: Path) -> None:
    with torch.serialization.safe_globals([argparse.Namespace]):
        before = set(torch.serialization.get_safe_globals())
        read_dit(save(original_weights(dit_config()), tmp_path / "DiT.pt"), heads=2)
        assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.diffusion_model."]
)
def test_prefixes_are_removed(prefix: str, tmp_path: Path) -> None:
    state = {prefix + key: value for key, value in original_weights(dit_config()).items()}
    assert read_dit(save(state, tmp_path / "DiT.pt"), heads=2).config == dit_config()


def test_blocks_that_the_first_repa_files_count_anew_are_joined(tmp_path: Path) -> None:
    state = original_weights(dit_config())
    older = {
        re.sub(r"^blocks\.([12])", lambda found: f"decoder_blocks.{int(found[1]) - 1}", key): value
        for key, value in state.items()
    }
    assert "decoder_blocks.1.attn.qkv.weight" in older
    weights = read_dit(save(older, tmp_path / "last.pt"), heads=2)
    assert all(torch.equal(weights.state[key], state[key]) for key in weights.state)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2], ids=lambda dtype: str(dtype)[6:]
)
def test_small_dtypes_load_and_stay_close(dtype: torch.dtype, tmp_path: Path) -> None:
    config = dit_config()
    state = original_weights(config)
    full = load(save(state, tmp_path / "DiT.safetensors"))
    stored = save({key: value.to(dtype) for key, value in state.items()}, tmp_path / "DiT_small.safetensors")
    expected = sample(full)
    for model in (load(stored, dtype=None), load(tmp_path / "DiT.safetensors", dtype=dtype)):
        error = (sample(model) - expected).norm() / expected.norm()
        assert 0 < error < {1: 0.4, 2: 0.03}[dtype.itemsize]
    assert {value.dtype for value in model.model.diffusion_model.state_dict().values()} == {dtype}


def test_no_row_is_looked_up_in_fp8(tmp_path: Path) -> None:
    """GPUs look up rows of fp8 in the newest versions of torch only."""

    class Lookups(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if function is torch.ops.aten.embedding.default:
                seen.append(args[0].dtype)
            return function(*args, **kwargs or {})

    seen: list[torch.dtype] = []
    config = dit_config()
    model = load(save(original_weights(config), tmp_path / "DiT.safetensors"), dtype=torch.float8_e4m3fn)
    with Lookups():
        raw(model, *batch(config))
    assert seen == [torch.float32]


def test_a_learned_position_embedding_is_kept_and_interpolated(tmp_path: Path) -> None:
    config = dit_config()
    state = original_weights(config)
    state["pos_embed"] = torch.randn(1, 256, 128, generator=torch.Generator().manual_seed(1))
    model = load(save(state, tmp_path / "DiT.pt"))
    network = model.model.diffusion_model
    assert torch.equal(network.position(16, 16), state["pos_embed"])
    assert network.position(24, 16).shape == (1, 384, 128)
    assert torch.isfinite(raw(model, *batch(config, 48))).all()


def test_the_size_and_every_other_number_come_from_the_shapes(tmp_path: Path) -> None:
    config = dit_config(depth=5, width=192, heads=3, patch=4, classes=37, grid=9, learn_sigma=False)
    found = read_dit(save(original_weights(config), tmp_path / "x.pt"))
    assert found.config == config
    assert "5 blocks, 192 wide, 3 heads, patch 4, 37 classes, 36 x 36 latents" in found.description


@pytest.mark.parametrize(("width", "heads"), [(384, 6), (768, 12), (1024, 16), (1152, 16)])
def test_published_widths_have_their_published_heads(width: int, heads: int, tmp_path: Path) -> None:
    config = dit_config(width=width, heads=heads, depth=1, classes=3)
    assert read_dit(save(original_weights(config), tmp_path / "x.pt")).config == config


@pytest.mark.parametrize(
    ("name", "extra", "expected"),
    [
        ("DiT-XL-2-256x256.pt", "", ("DiT", ModelType.EPS)),
        ("SiT-XL-2-256x256.pt", "", ("SiT", ModelType.FLOW)),
        ("repa-sit-xl.pt", "", ("REPA", ModelType.FLOW)),
        ("last.pt", "projectors.0.0.weight", ("REPA", ModelType.FLOW)),
        ("last.pt", "", ("DiT", ModelType.EPS)),
        ("position.pt", "", ("DiT", ModelType.EPS)),
    ],
)
def test_auto_says_what_it_took_the_file_for(name: str, extra: str, expected: tuple[str, Any], tmp_path: Path) -> None:
    state = original_weights(dit_config())
    if extra:
        state[extra] = torch.zeros(4, 4)
    weights = read_dit(save(state, tmp_path / name), heads=2)
    assert weights.description.startswith(f"{expected[0]} (")
    assert build_dit(weights, None, torch.float32).model.model_type == expected[1]


def velocity_ode(network: Any, x: Tensor, times: list[float], labels: Tensor) -> Tensor:
    """Euler steps of the authors' own convention, on the bare network."""
    for now, after in itertools.pairwise(times):
        x = x + (after - now) * network(x, torch.full((len(x),), now), labels)
    return x


@pytest.mark.parametrize(("variant", "times"), [("SiT", [0, 0.25, 0.5, 0.75, 1]), ("REPA", [1, 0.75, 0.5, 0.25, 0])])
def test_velocity_models_follow_their_authors_ode(variant: str, times: list[float], tmp_path: Path) -> None:
    config = dit_config()
    path = save(original_weights(config), tmp_path / "x.pt")
    model, bare = load(path, variant), load(path, "DiT").model.diffusion_model
    inputs = class_inputs(model, "7, 3")
    noise = comfy.sample.prepare_noise(inputs.latent["samples"], 0)
    with torch.no_grad():
        expected = velocity_ode(bare, noise, times, inputs.positive[0][0])
    result = sample(model, cfg=1.0) * 0.18215
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)


def test_guidance_on_three_channels_leaves_the_fourth_to_the_class(tmp_path: Path) -> None:
    path = save(original_weights(dit_config()), tmp_path / "x.pt")
    weights = read_dit(path, heads=2)
    three, everything = build_dit(weights, 3, torch.float32), build_dit(read_dit(path, heads=2), None, torch.float32)
    first, second, plain = sample(three, steps=1), sample(everything, steps=1), sample(everything, steps=1, cfg=1.0)
    assert torch.equal(first[:, :3], second[:, :3])
    torch.testing.assert_close(first[:, 3], plain[:, 3], rtol=1e-3, atol=0.05)
    assert not torch.allclose(second[:, 3], plain[:, 3], rtol=1e-3, atol=0.05)


@pytest.mark.parametrize("steps", [1, 2, 4, 8, 16, 32, 64, 128])
def test_shortcut_models_get_the_step_size_of_the_run(steps: int, tmp_path: Path, caplog: Any) -> None:
    config = dit_config(depth=1, learn_sigma=False, shortcut=True, grid=2, classes=10)
    path = save(original_weights(config), tmp_path / "x.pt")
    model = load(path)
    network = model.model.diffusion_model
    inputs = class_inputs(model, "7, 3")
    noise = comfy.sample.prepare_noise(inputs.latent["samples"], 0)
    x, level = noise, torch.full((2,), float(steps)).log2()
    with torch.no_grad():
        for index in range(steps):  # the paper's algorithm: t from 0 (noise) to 1 in steps of d
            t = torch.full((2,), index / steps)
            x = x + DiT.forward(network, x, t, inputs.positive[0][0], step=level) / steps
    result = sample(model, steps=steps, cfg=1.0) * 0.18215
    torch.testing.assert_close(result, x, rtol=1e-4, atol=1e-4)
    assert "Shortcut" not in caplog.text


@pytest.mark.parametrize(
    ("sampler", "scheduler"),
    [
        *itertools.product(["euler", "heun", "dpm_2", "dpmpp_2m", "dpmpp_sde", "lcm", "uni_pc"], ["simple"]),
        *itertools.product(["euler", "heun"], ["normal", "sgm_uniform", "beta", "ddim_uniform", "karras"]),
    ],
)
def test_every_sampler_and_scheduler_tells_a_shortcut_model_its_step(
    sampler: str, scheduler: str, tmp_path: Path
) -> None:
    """A call at sigma belongs to the step from the next higher level of the run to the next lower one."""
    config = dit_config(depth=1, learn_sigma=False, shortcut=True, grid=2, classes=10)
    model = load(save(original_weights(config), tmp_path / "x.pt"))
    seen: list[tuple[float, float]] = []
    network = model.model.diffusion_model
    network.t_embedder.register_forward_pre_hook(lambda module, args: seen.append((1 - float(args[0][0]), math.nan)))
    network.dt_embedder.register_forward_pre_hook(lambda module, args: seen.append((seen.pop()[0], float(args[0][0]))))
    sigmas = comfy.samplers.KSampler(model, 8, model.load_device, sampler, scheduler).sigmas.tolist()
    sample(model, steps=8, cfg=1.0, sampler=sampler, scheduler=scheduler)
    assert len(seen) >= 7
    for sigma, level in seen:
        high = min(each for each in sigmas if each >= sigma - 1e-4)
        low = max(each for each in sigmas if each < sigma - 1e-4)
        assert level == min(max(round(-math.log2(high - low)), 0), 7)


def test_step_sizes_between_take_the_nearest_with_one_warning(tmp_path: Path, caplog: Any) -> None:
    config = dit_config(depth=1, learn_sigma=False, shortcut=True, grid=2, classes=10)
    model = load(save(original_weights(config), tmp_path / "x.pt"))
    with caplog.at_level(logging.WARNING, "tstitch"):
        assert torch.isfinite(sample(model, steps=5, cfg=1.0)).all()
        sample(model, steps=5, cfg=1.0, sampler="dpm_2")
    assert caplog.text.count("Shortcut") == 1


def test_attention_logits_of_shortcut_models_are_divided_by_the_head_width(tmp_path: Path) -> None:
    config = dit_config(depth=1, learn_sigma=False, shortcut=True, grid=2, classes=10)
    model = load(save(original_weights(config), tmp_path / "x.pt"))
    attention = model.model.diffusion_model.blocks[0].attn
    x = torch.randn(1, 4, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        q, k, v = (part.unflatten(-1, (2, 64)).transpose(1, 2) for part in attention.qkv(x).chunk(3, dim=-1))
        values = (q @ k.transpose(-1, -2) / 64).softmax(dim=-1) @ v
        expected = attention.proj(values.transpose(1, 2).flatten(2))
        torch.testing.assert_close(attention(x), expected)


DIT = DiTConfig(**{**dit_config(depth=2).to_dict(), "classes": 7, "grid": 4})


def damaged(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-5000])
    return path


class Payload:
    """Unpickled by an unsafe loader, it would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


def with_code(state: dict[str, Tensor], path: Path) -> Path:
    torch.save({**state, "extra": Payload(path.with_suffix(".ran"))}, path)
    return path


def without(state: dict[str, Tensor], key: str) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if name != key}


BAD_FILES = {
    "not there": (lambda state, folder: folder / "gone.pt", "does not exist"),
    "empty": (lambda state, folder: save({}, folder / "x.pt"), "holds no weights"),
    "not a DiT": (
        lambda state, folder: save({"conv_in.weight": torch.ones(1)}, folder / "x.pt"),
        "begins with conv_in",
    ),
    "missing": (lambda state, folder: save(without(state, "blocks.1.mlp.fc1.bias"), folder / "x.pt"), "lacks blocks.1"),
    "unknown": (
        lambda state, folder: save({**state, "blocks.0.attn.q_norm.weight": torch.ones(4)}, folder / "x.pt"),
        "also holds blocks.0.attn.q_norm",
    ),
    "shape": (
        lambda state, folder: save({**state, "blocks.0.mlp.fc1.bias": torch.ones(4)}, folder / "x.pt"),
        "blocks.0.mlp.fc1.bias has the shape",
    ),
    "position": (
        lambda state, folder: save({**state, "pos_embed": torch.ones(1, 15, 128)}, folder / "x.pt"),
        "pos_embed has the shape",
    ),
    "outputs": (
        lambda state, folder: save({**state, "final_layer.linear.weight": torch.ones(7, 128)}, folder / "x.pt"),
        "has 7 outputs",
    ),
    "truncated safetensors": (
        lambda state, folder: damaged(save(state, folder / "x.safetensors")),
        "damaged or incomplete",
    ),
    "truncated pickle": (lambda state, folder: damaged(save(state, folder / "x.pt")), "damaged or incomplete"),
    "text": (lambda state, folder: Path(shutil.copy(__file__, folder / "x.pt")), "damaged"),
    "code": (lambda state, folder: with_code(state, folder / "x.pt"), "mkdir"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_named_with_the_finding(case: str, tmp_path: Path) -> None:
    make, finding = BAD_FILES[case]
    path = make(original_weights(DIT), tmp_path)
    with pytest.raises(StitchError, match=re.escape(finding)) as error:
        read_dit(ModelFile(path, f"folder/{path.name}"), heads=2)
    assert f"folder/{path.name}" in str(error.value)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("*.ran"))


@pytest.mark.parametrize(
    ("variant", "heads", "finding"),
    [("Shortcut", 2, "has no step-size embedder"), ("auto", 5, "128 wide, which 5 attention heads cannot share")],
)
def test_a_choice_that_does_not_fit_the_file_is_refused(variant: str, heads: int, finding: str, tmp_path: Path) -> None:
    with pytest.raises(StitchError, match=finding):
        read_dit(save(original_weights(DIT), tmp_path / "x.pt"), variant=variant, heads=heads)


def test_other_latent_spaces_are_refused(tmp_path: Path) -> None:
    config = dataclasses.replace(DIT, channels=16)
    with pytest.raises(StitchError, match="latents of 16 channels"):
        load(save(original_weights(config), tmp_path / "x.pt"))


@pytest.mark.parametrize(
    ("latent", "message"),
    [((1, 4, 9, 8), "cuts it into patches of 2 x 2"), ((1, 16, 8, 8), "this model takes 4 x H x W")],
)
def test_a_latent_that_does_not_fit_is_refused(latent: tuple[int, ...], message: str, tmp_path: Path) -> None:
    network = load(save(original_weights(DIT), tmp_path / "x.pt")).model.diffusion_model
    with pytest.raises(StitchError, match=message):
        network(torch.zeros(latent), torch.zeros(1), torch.zeros(1, 1, 7))


def test_conditioning_of_another_model_is_refused(tmp_path: Path) -> None:
    model = load(save(original_weights(DIT), tmp_path / "x.pt"))
    latent = torch.zeros(1, 4, 8, 8)
    with pytest.raises(StitchError, match="takes weights of its 7 classes"):
        comfy.sample.sample(model, latent, 2, 1.0, "euler", "simple", conditioning(), conditioning(), latent)


@pytest.mark.parametrize("side", [32, 64])
def test_small_and_large_dit_are_stitched(side: int, tmp_path: Path) -> None:
    """At fraction 0 and 1 one of them alone; between, the small one gets exactly the early steps."""
    models = {}
    for name, shape in {
        "S": {"width": 96, "heads": 2, "depth": 2},
        "XL": {"width": 144, "heads": 2, "depth": 4},
    }.items():
        config = dit_config(grid=side // 2, classes=20, **shape)
        models[name] = load(save(original_weights(config), tmp_path / f"DiT-{name}.pt"))
    pair, options = [models["S"], models["XL"]], {"steps": 5, "sampler": "dpmpp_2m"}
    small, large = sample(models["S"], **options), sample(models["XL"], **options)
    assert torch.equal(sample(stitched(pair, "0"), **options), large)
    assert torch.equal(sample(stitched(pair, "1"), **options), small)
    middle = sample(stitched(pair, "0.4"), **options)
    assert not torch.equal(middle, large)
    assert not torch.equal(middle, small)


def test_a_shortcut_model_is_a_stage_between_ordinary_ones(tmp_path: Path) -> None:
    config = dit_config(depth=1, grid=2, classes=10)
    kinds = {"DiT.pt": {}, "shortcut.pt": {"shortcut": True, "learn_sigma": False}, "SiT.pt": {}}
    models = [
        load(save(original_weights(dataclasses.replace(config, **changes)), tmp_path / name))
        for name, changes in kinds.items()
    ]
    seen: list[float] = []
    shortcut = models[1].model.diffusion_model
    shortcut.dt_embedder.register_forward_pre_hook(lambda module, args: seen.append(float(args[0][0])))
    result = sample(stitched(models, "0.25, 0.75"), steps=8, cfg=1.0)
    assert torch.isfinite(result).all()
    assert seen == [3.0] * 4  # log2(8)


def test_a_low_vram_load_gives_the_same_picture(tmp_path: Path) -> None:
    path = save(original_weights(DIT), tmp_path / "x.pt")
    whole, part = load(path), load(path)
    expected = sample(whole, "5, 3")
    part.load(torch.device("cpu"), lowvram_model_memory=1)
    inputs = raw(part, *batch(DIT))
    assert torch.equal(inputs, raw(whole, *batch(DIT)))
    assert torch.equal(sample(part, "5, 3"), expected)


def test_other_nodes_may_replace_the_attention(tmp_path: Path) -> None:
    """By the host's `optimized_attention_override`; hosts that have none ignore it."""
    model = load(save(original_weights(DIT), tmp_path / "x.pt"))
    calls: list[int] = []

    def override(function: Any, *args: Any, **kwargs: Any) -> Tensor:
        calls.append(args[3])
        return function(*args, **kwargs)

    inputs = batch(DIT)
    expected = raw(model, *inputs)
    options = {"transformer_options": {"optimized_attention_override": override}}
    assert torch.equal(raw(model, *inputs, **options), expected)
    assert calls == ([2, 2] if ATTENTION_TAKES_OPTIONS else [])


def test_other_nodes_may_skip_blocks(tmp_path: Path) -> None:
    """As the host's Skip Layer Guidance does, which takes every DiT; a block that is run by its patch is the block."""
    model = load(save(original_weights(DIT), tmp_path / "x.pt"))
    inputs, network = batch(DIT), model.model.diffusion_model
    expected = raw(model, *inputs)

    def patched(replace: Any) -> dict[str, Any]:
        return {"transformer_options": {"patches_replace": {"dit": {("double_block", 1): replace}}}}

    assert torch.equal(raw(model, *inputs, **patched(lambda args, extra: extra["original_block"](args))), expected)
    skipped = raw(model, *inputs, **patched(lambda args, extra: args))
    del network.blocks[1]
    assert torch.equal(skipped, raw(model, *inputs))
    assert not torch.equal(skipped, expected)
