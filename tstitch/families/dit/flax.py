"""Shortcut models as released (arXiv 2410.12557): pickles of nested JAX arrays, turned into safetensors.

Reading a pickle can run any code, so this reader knows the few names that arrays are made of and refuses all others.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from ...errors import StitchError
from ..shared.model_file import ModelFile

#: Where the trainer keeps the weights, best first: averaged weights draw better than raw ones.
COPIES = ("params_ema", "params")
#: flax's own numbering of unnamed layers, to the names of the published DiT checkpoints.
NAMES = {
    r"PatchEmbed_0/Conv_0": "x_embedder.proj",
    r"TimestepEmbedder_0/Dense_0": "t_embedder.mlp.0",
    r"TimestepEmbedder_0/Dense_1": "t_embedder.mlp.2",
    r"TimestepEmbedder_1/Dense_0": "dt_embedder.mlp.0",
    r"TimestepEmbedder_1/Dense_1": "dt_embedder.mlp.2",
    r"LabelEmbedder_0/Embed_0": "y_embedder.embedding_table",
    r"DiTBlock_(\d+)/Dense_0": r"blocks.\1.adaLN_modulation.1",
    r"DiTBlock_(\d+)/Dense_1": r"blocks.\1.attn.k",
    r"DiTBlock_(\d+)/Dense_2": r"blocks.\1.attn.q",
    r"DiTBlock_(\d+)/Dense_3": r"blocks.\1.attn.v",
    r"DiTBlock_(\d+)/Dense_4": r"blocks.\1.attn.proj",
    r"DiTBlock_(\d+)/MlpBlock_0/Dense_0": r"blocks.\1.mlp.fc1",
    r"DiTBlock_(\d+)/MlpBlock_0/Dense_1": r"blocks.\1.mlp.fc2",
    r"FinalLayer_0/Dense_0": "final_layer.adaLN_modulation.1",
    r"FinalLayer_0/Dense_1": "final_layer.linear",
}
METADATA = {"tstitch.variant": "Shortcut"}
UNUSED = ("Embed_0", "pos_embed")  # log-variances of the loss, and the fixed position embedding


class _Inert(tuple):
    """Replaces the optimizer's objects: keeps its arguments and does nothing."""

    def __new__(cls, *values: Any, **_: Any) -> _Inert:
        return super().__new__(cls, values)


def _rebuild_array(rebuild: Any, arguments: tuple[Any, ...], state: Any, *_: Any) -> np.ndarray:
    array = rebuild(*arguments)
    array.__setstate__(state)
    return array


#: What numpy rebuilds arrays and numbers with, under the two names it has had.
_NUMPY = {
    (module, name): sample.__reduce__()[0]
    for module in ("numpy.core.multiarray", "numpy._core.multiarray")
    for name, sample in (("_reconstruct", np.zeros(1)), ("scalar", np.float32(0)))
}
_ALLOWED: dict[tuple[str, str], Any] = {
    **_NUMPY,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("jax._src.array", "_reconstruct_array"): _rebuild_array,
    ("flax.core.frozen_dict", "FrozenDict"): dict,
    ("collections", "OrderedDict"): dict,
}
_INERT_MODULES = re.compile(r"optax\._src\.\w+")


class ArrayUnpickler(pickle.Unpickler):
    """Reads arrays in dicts, lists and tuples. Raises StitchError for any other name before running it."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        super().__init__(file)
        self.file_name = name

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        if _INERT_MODULES.fullmatch(module) and name.isidentifier():
            return _Inert
        raise StitchError(
            f"The file {self.file_name} holds code ({module}.{name}) besides arrays, so it is not opened."
        )


def convert_shortcut(source: str | Path, target: str | Path, copy: str | None = None) -> dict[str, Tensor]:
    """Writes the weights of a released Shortcut pickle as safetensors for Load DiT. Raises StitchError."""
    state = read_shortcut_pickle(source, copy)
    save_file(state, target, METADATA)
    return state


def read_shortcut_pickle(file: str | Path | ModelFile, copy: str | None = None) -> dict[str, Tensor]:
    """The averaged weights of a released Shortcut pickle, unless `copy` names others. Raises StitchError."""
    file = ModelFile.of(file)
    return to_dit_names(_read_arrays(file, copy), file.name)


def _read_arrays(file: ModelFile, copy: str | None) -> dict[str, np.ndarray]:
    """Arrays by their path in flax's tree."""
    path, name = file
    if not path.is_file():
        raise StitchError(f"The file {name} does not exist.")
    try:
        with path.open("rb") as opened:
            content = ArrayUnpickler(opened, name).load()
    except StitchError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way
        raise StitchError(f"The file {name} is damaged or no pickle: download it again.") from error
    state = content.get("train_state", content) if isinstance(content, Mapping) else {}
    for each in (copy,) if copy else COPIES:
        if isinstance(params := state.get(each), Mapping) and params:
            return _flat(params)
    raise StitchError(f"The file {name} holds no {copy or 'weights'}: a Shortcut checkpoint has params_ema and params.")


def to_dit_names(arrays: Mapping[str, np.ndarray], name: str) -> dict[str, Tensor]:
    """The weights under the names, and in the axis order, of a DiT checkpoint."""
    state: dict[str, Tensor] = {}
    for path, array in arrays.items():
        layer, _, part = path.rpartition("/")
        if layer in UNUSED or path in UNUSED:
            continue
        for pattern, target in NAMES.items():
            if found := re.fullmatch(pattern, layer):
                state[f"{found.expand(target)}.{'bias' if part == 'bias' else 'weight'}"] = _tensor(array, part)
                break
        else:
            raise StitchError(f"The file {name} is no Shortcut model: it holds {path}.")
    depth = len({key.split(".")[1] for key in state if key.startswith("blocks.")})
    try:
        for prefix in (f"blocks.{index}.attn." for index in range(depth)):
            for part in ("weight", "bias"):
                state[f"{prefix}qkv.{part}"] = torch.cat([state.pop(f"{prefix}{each}.{part}") for each in "qkv"])
    except KeyError as error:
        raise StitchError(f"The file {name} is no complete Shortcut model: it lacks {error.args[0]}.") from error
    return {key: value.contiguous() for key, value in state.items()}


def _tensor(array: np.ndarray, part: str) -> Tensor:
    """flax keeps dense kernels as (in, out) and convolutions as (height, width, in, out)."""
    tensor = torch.from_numpy(np.array(array, dtype=np.float32))
    if part != "kernel":
        return tensor
    return tensor.T if tensor.ndim == 2 else tensor.permute(3, 2, 0, 1)


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            arrays |= _flat(value, f"{prefix}{key}/")
        elif isinstance(value, np.ndarray):
            arrays[f"{prefix}{key}"] = value
    return arrays
