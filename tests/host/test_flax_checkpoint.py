"""The released Shortcut pickles: read without running anything, converted, and equal to their own arithmetic."""

from __future__ import annotations

import math
import os
import pickle
import sys
import types
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import dev
from scripts import convert_shortcut as convert_shortcut_command
from tstitch.errors import StitchError
from tstitch.families.dit.checkpoint import VARIANTS, read_dit
from tstitch.families.dit.flax import convert_shortcut
from tstitch.families.dit.model import build_dit

WIDTH, HEADS, DEPTH, PATCH, CHANNELS, CLASSES = 128, 2, 2, 2, 4, 10


class ScaleByAdamState(NamedTuple):
    count: np.ndarray
    mu: dict[str, Any]


def _reconstruct_array(*_: Any) -> None:
    raise AssertionError("the reader must not run what a pickle names")


STAND_INS = {"optax._src.transform": ScaleByAdamState, "jax._src.array": _reconstruct_array}
for module_name, item in STAND_INS.items():
    item.__module__ = module_name


@pytest.fixture(autouse=True)
def jax_and_optax(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules of the names that JAX and optax write into a pickle, for writing one only."""
    for name in ("jax", "jax._src", "optax", "optax._src"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    for name, item in STAND_INS.items():
        module = types.ModuleType(name)
        setattr(module, item.__name__, item)
        monkeypatch.setitem(sys.modules, name, module)


class JaxArray:
    """Pickles as jax.Array does."""

    def __init__(self, value: np.ndarray) -> None:
        self.value = value

    def __reduce__(self) -> tuple[Any, ...]:
        rebuild, arguments, state = self.value.__reduce__()
        return _reconstruct_array, (rebuild, arguments, state, {"weak_type": False})


def flax_params(seed: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)

    def dense(inputs: int, outputs: int) -> dict[str, np.ndarray]:
        kernel = random.normal(size=(inputs, outputs)) * 1.5 / math.sqrt(inputs)
        return {"kernel": kernel.astype(np.float32), "bias": random.normal(size=outputs).astype(np.float32) * 0.3}

    def embedder() -> dict[str, Any]:
        return {"Dense_0": dense(256, WIDTH), "Dense_1": dense(WIDTH, WIDTH)}

    def block() -> dict[str, Any]:
        layers = {f"Dense_{index}": dense(WIDTH, WIDTH) for index in range(1, 5)}
        mlp = {"Dense_0": dense(WIDTH, 4 * WIDTH), "Dense_1": dense(4 * WIDTH, WIDTH)}
        return {"Dense_0": dense(WIDTH, 6 * WIDTH), **layers, "MlpBlock_0": mlp}

    return {
        "PatchEmbed_0": {
            "Conv_0": {
                "kernel": random.normal(size=(PATCH, PATCH, CHANNELS, WIDTH)).astype(np.float32) * 0.3,
                "bias": random.normal(size=WIDTH).astype(np.float32),
            }
        },
        "TimestepEmbedder_0": embedder(),
        "TimestepEmbedder_1": embedder(),
        "LabelEmbedder_0": {"Embed_0": {"embedding": random.normal(size=(CLASSES + 1, WIDTH)).astype(np.float32)}},
        **{f"DiTBlock_{index}": block() for index in range(DEPTH)},
        "FinalLayer_0": {"Dense_0": dense(WIDTH, 2 * WIDTH), "Dense_1": dense(WIDTH, PATCH**2 * CHANNELS)},
        "Embed_0": {"embedding": np.zeros((256, 1), np.float32)},
    }


def flax_forward(params: dict[str, Any], x: np.ndarray, t: np.ndarray, dt: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The network on flax's own arrays, channels last (N, H, W, C), in numpy and float64."""

    def dense(layer: dict[str, np.ndarray], value: np.ndarray) -> np.ndarray:
        return value @ layer["kernel"].astype(np.float64) + layer["bias"]

    def silu(value: np.ndarray) -> np.ndarray:
        return value / (1 + np.exp(-value))

    def gelu(value: np.ndarray) -> np.ndarray:
        return 0.5 * value * (1 + np.tanh(math.sqrt(2 / math.pi) * (value + 0.044715 * value**3)))

    def norm(value: np.ndarray) -> np.ndarray:
        return (value - value.mean(-1, keepdims=True)) / np.sqrt(value.var(-1, keepdims=True) + 1e-6)

    def embed(layers: dict[str, Any], value: np.ndarray) -> np.ndarray:
        angles = value[:, None] * np.exp(-math.log(10000) * np.arange(128) / 128)
        features = np.concatenate([np.cos(angles), np.sin(angles)], -1)
        return dense(layers["Dense_1"], silu(dense(layers["Dense_0"], features)))

    def heads(value: np.ndarray) -> np.ndarray:
        return value.reshape(len(x), -1, HEADS, WIDTH // HEADS).transpose(0, 2, 1, 3)

    side = x.shape[1] // PATCH
    patches = x.reshape(len(x), side, PATCH, side, PATCH, CHANNELS).transpose(0, 1, 3, 2, 4, 5)
    conv = params["PatchEmbed_0"]["Conv_0"]
    tokens = patches.reshape(len(x), side**2, -1) @ conv["kernel"].reshape(-1, WIDTH).astype(np.float64) + conv["bias"]
    omega = 1 / 10000 ** (np.arange(WIDTH // 4) / (WIDTH // 4))
    rows, columns = np.divmod(np.arange(side**2), side)
    parts = [function(np.outer(place, omega)) for place in (columns, rows) for function in (np.sin, np.cos)]
    tokens = tokens + np.concatenate(parts, -1)
    c = embed(params["TimestepEmbedder_0"], t) + embed(params["TimestepEmbedder_1"], dt)
    c = silu(c + params["LabelEmbedder_0"]["Embed_0"]["embedding"][y])
    for index in range(DEPTH):
        block = params[f"DiTBlock_{index}"]
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = np.split(dense(block["Dense_0"], c)[:, None], 6, -1)
        inner = norm(tokens) * (1 + scale_a) + shift_a
        k, q, v = (heads(dense(block[f"Dense_{place}"], inner)) for place in (1, 2, 3))
        logits = q @ k.transpose(0, 1, 3, 2) / (WIDTH // HEADS)
        weights = np.exp(logits - logits.max(-1, keepdims=True))
        mixed = (weights / weights.sum(-1, keepdims=True)) @ v
        mixed = mixed.transpose(0, 2, 1, 3).reshape(len(x), -1, WIDTH)
        tokens = tokens + gate_a * dense(block["Dense_4"], mixed)
        inner = norm(tokens) * (1 + scale_m) + shift_m
        mlp = block["MlpBlock_0"]
        tokens = tokens + gate_m * dense(mlp["Dense_1"], gelu(dense(mlp["Dense_0"], inner)))
    final = params["FinalLayer_0"]
    shift, scale = np.split(dense(final["Dense_0"], c)[:, None], 2, -1)
    out = dense(final["Dense_1"], norm(tokens) * (1 + scale) + shift)
    out = out.reshape(len(x), side, side, PATCH, PATCH, CHANNELS).transpose(0, 1, 3, 2, 4, 5)
    return out.reshape(x.shape)


def as_jax(tree: Any) -> Any:
    return {key: as_jax(value) for key, value in tree.items()} if isinstance(tree, dict) else JaxArray(tree)


def write(path: Path, average: dict[str, Any] | None, raw: dict[str, Any], **more: Any) -> Path:
    moments = ScaleByAdamState(np.zeros((), np.int32), {"kernel": np.zeros(3, np.float32)})
    state = {"params": as_jax(raw), "params_ema": average and as_jax(average), "opt_state": (moments,), "step": 800_000}
    path.write_bytes(pickle.dumps({"train_state": state, "_timestamp": 1.7e9, **more}))
    return path


def test_a_released_pickle_computes_as_its_own_network(tmp_path: Path) -> None:
    average = flax_params(0)
    convert_shortcut(write(tmp_path / "imagenet-shortcut", average, flax_params(1)), tmp_path / "out.safetensors")
    weights = read_dit(tmp_path / "out.safetensors", heads=HEADS)
    assert weights.description.startswith("Shortcut (from its metadata")
    network = build_dit(weights, None, torch.float32).model.diffusion_model
    x = np.random.default_rng(2).normal(size=(2, 8, 8, CHANNELS)).astype(np.float32)
    t, dt, y = np.array([0.0, 0.625]), np.array([3.0, 7.0]), np.array([4, CLASSES])
    one_hot = torch.eye(CLASSES + 1)[y][:, None, :CLASSES]
    with torch.no_grad():  # the host's time is 1 - t, and its velocity points to the noise
        sigma, step = torch.tensor(1 - t, dtype=torch.float32), torch.tensor(dt, dtype=torch.float32)
        found = -network(torch.from_numpy(x).permute(0, 3, 1, 2), sigma, one_hot, step=step)
    expected = torch.from_numpy(flax_forward(average, x, t, dt, y)).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_raw_weights_are_taken_on_request_or_where_there_are_no_others(tmp_path: Path) -> None:
    average, raw = flax_params(0), flax_params(1)
    expected = torch.from_numpy(raw["PatchEmbed_0"]["Conv_0"]["bias"])
    both, only_raw = write(tmp_path / "both", average, raw), write(tmp_path / "raw", None, raw)
    for path, copy in ((both, "params"), (only_raw, None)):
        weights = convert_shortcut(path, tmp_path / "out.safetensors", copy)
        assert torch.equal(weights["x_embedder.proj.bias"], expected)


def test_load_dit_reads_the_pickle_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "shortcut.pkl", flax_params(), flax_params(1))
    converted = convert_shortcut(path, tmp_path / "out.safetensors")
    weights = read_dit(path, heads=HEADS)
    assert weights.variant is VARIANTS["Shortcut"]
    assert weights.config.shortcut
    assert all(torch.equal(weights.state[key], converted[key]) for key in converted)


def test_the_command_converts_a_file_and_names_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: Path | str) -> int:
        monkeypatch.setattr(sys, "argv", ["convert-shortcut", *map(str, arguments)])
        return convert_shortcut_command.main()

    average, raw = flax_params(0), flax_params(1)
    path = write(tmp_path / "imagenet-shortcut", average, raw)
    assert run(path) == 0
    assert run(path, tmp_path / "raw.safetensors", "--raw") == 0
    assert capsys.readouterr().out.count("million weights") == 2
    for name, params in (("imagenet-shortcut", average), ("raw", raw)):
        state = read_dit(tmp_path / f"{name}.safetensors", heads=HEADS).state
        bias = torch.from_numpy(params["PatchEmbed_0"]["Conv_0"]["bias"])
        assert torch.equal(state["x_embedder.proj.bias"], bias)
    assert run(tmp_path / "gone") == 1
    assert capsys.readouterr().err == "The file gone does not exist.\n"
    assert run(path, tmp_path / "no" / "folder" / "x.safetensors") == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_dev_py_takes_paths_from_where_it_is_called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(dev, "set_up", lambda: None)
    monkeypatch.setattr(dev, "run_module", lambda name, arguments: calls.append((name, arguments)))
    monkeypatch.chdir(tmp_path)
    options = dev.parse(["convert-shortcut", "in.pkl", "--raw"])
    dev.COMMANDS[options.command][0](options.arguments)
    assert calls == [("scripts.convert_shortcut", [str(tmp_path / "in.pkl"), "--raw"])]


class Payload:
    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.arguments


@pytest.mark.parametrize(
    ("call", "finding"),
    [
        (os.mkdir, "mkdir"),
        (eval, "builtins.eval"),
        (getattr, "builtins.getattr"),
        (np.load, "load"),
        (torch.load, "load"),
    ],
)
def test_a_pickle_with_code_is_refused_and_runs_nothing(call: Any, finding: str, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    argument = f"__import__('os').mkdir({str(ran)!r})" if call is eval else str(ran)
    path = write(tmp_path / "bad", None, flax_params(), extra=Payload(call, argument))
    with pytest.raises(StitchError, match=rf"The file bad holds code \(.*{finding}\)"):
        convert_shortcut(path, tmp_path / "out.safetensors")
    assert not ran.exists()
    assert not (tmp_path / "out.safetensors").exists()


def test_a_record_of_the_optimizer_cannot_reach_code_through_its_name(tmp_path: Path) -> None:
    path = tmp_path / "bad"
    path.write_bytes(b"\x80\x04\x8c\x10optax._src.utils\x8c\x09os.system\x93.")  # a dotted name after the module
    with pytest.raises(StitchError, match="holds code"):
        convert_shortcut(path, tmp_path / "out.safetensors")


def damaged(params: dict[str, Any]) -> dict[str, Any]:
    del params["DiTBlock_1"]["Dense_2"]["bias"]
    return params


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (lambda path: path, "does not exist"),
        (lambda path: path.write_bytes(b"no pickle"), "is damaged or no pickle"),
        (lambda path: path.write_bytes(pickle.dumps({"a": 1})), "holds no weights"),
        (lambda path: path.write_bytes(pickle.dumps([1])), "holds no weights"),
        (lambda path: write(path, None, {"Dense_7": {"kernel": np.ones((2, 2))}}), "it holds Dense_7/kernel"),
        (lambda path: write(path, None, damaged(flax_params())), "it lacks blocks.1.attn.q.bias"),
    ],
    ids=["missing", "text", "no weights", "a list", "another model", "incomplete"],
)
def test_a_bad_file_is_named_with_the_finding(content: Any, finding: str, tmp_path: Path) -> None:
    content(tmp_path / "file")
    with pytest.raises(StitchError, match=f"The file file .*{finding}"):
        convert_shortcut(tmp_path / "file", tmp_path / "out.safetensors")
