"""Reads weight files in all layouts that people have, and explains damaged ones."""

from __future__ import annotations

import argparse
import contextlib
import json
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import comfy.utils
import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from ...errors import StitchError
from .model_file import ModelFile

#: Where training scripts keep the weights in a file, best first: averaged weights draw better than raw ones.
WRAPPERS = ("ema", "params_ema", "model_ema", "ema_model", "ema_state_dict", "state_dict", "model", "params")
#: Prefixes that compilers, parallel training, averaging and whole-pipeline files add to each name.
PREFIXES = ("ema.", "ema_model.", "module.", "_orig_mod.", "model.diffusion_model.", "diffusion_model.")
#: Key of the command line that training scripts keep beside the weights, and prefix of its values in the metadata.
ARGUMENTS = "args"
#: Pseudo-weight holding metadata as JSON bytes, as the host's own for quantized layers; the host writes its own file
#: header.
FACTS = "tstitch.facts"
#: What command lines, and arrays and numbers of numpy, are pickled by.
PLAIN_VALUES: tuple[Any, ...] = (
    argparse.Namespace,
    np.ndarray,
    np.dtype,
    *{type(np.dtype(code)) for code in ("?", *np.typecodes["AllInteger"], *np.typecodes["Float"])},
    *{value.__reduce__()[0] for value in (np.zeros(1), np.float64(0))},
)


@dataclass(frozen=True)
class Checkpoint:
    name: str  # as the user chose it, for messages
    state: dict[str, Tensor]
    metadata: dict[str, str] = field(default_factory=dict)

    def number(self, key: str) -> int:
        """A number of the metadata; 0 if it is missing."""
        value = self.metadata.get(key, "")
        return int(value) if re.fullmatch(r"[0-9]{1,6}", value) else 0


def read_checkpoint(file: str | Path | ModelFile) -> Checkpoint:
    """As `read_whole_checkpoint`, for a file with one network, by its own names. Raises StitchError."""
    checkpoint = read_whole_checkpoint(file)
    return replace(checkpoint, state=_without_prefix(checkpoint.state))


def read_whole_checkpoint(file: str | Path | ModelFile) -> Checkpoint:
    """The tensors of a .safetensors, .pt, .pth, .ckpt or .bin file, unwrapped. Raises StitchError; runs no code."""
    file = ModelFile.of(file)
    path, name = file
    if not path.is_file():
        raise StitchError(f"The file {name} does not exist.")
    if path.suffix.lower() in (".safetensors", ".sft"):
        state, metadata = _read_safetensors(file)
    else:
        state = _read_pickle(file)
        metadata = _command_line(state)
    state = _unwrapped(state)
    metadata = {**metadata, **_take_facts(state, name)}
    if not state:
        raise StitchError(f"The file {name} holds no weights: choose another, or load it with the node it is made for.")
    return Checkpoint(name, state, metadata)


def with_facts(state: Mapping[str, Tensor], facts: Mapping[str, str]) -> dict[str, Tensor]:
    """The weights of a model that is being saved, plus metadata for its loader."""
    return {**state, FACTS: torch.tensor(list(json.dumps(facts).encode()), dtype=torch.uint8)}


def weight_of(checkpoint: Checkpoint, key: str, ndim: int, family: str) -> Tensor:
    """The weight that identifies a family. Raises StitchError unless it exists with this many dimensions."""
    weight = checkpoint.state.get(key)
    if weight is None:
        keys = ", ".join(sorted(checkpoint.state)[:2])
        raise StitchError(f"The file {checkpoint.name} is no {family}: it lacks {key} and begins with {keys}.")
    if weight.ndim != ndim:
        raise StitchError(
            f"The file {checkpoint.name} is no valid {family}: {key} has {weight.ndim} dimensions, not {ndim}."
        )
    return weight


def check_weights(checkpoint: Checkpoint, expected: dict[str, tuple[int, ...]], family: str) -> None:
    """Raise StitchError unless the weights have exactly these names and shapes."""
    state = checkpoint.state
    missing = [key for key in expected if key not in state]
    if missing:
        raise StitchError(f"The file {checkpoint.name} is no complete {family}: it lacks {_some(missing)}.")
    unknown = [key for key in state if key not in expected]
    if unknown:
        raise StitchError(f"The file {checkpoint.name} is no plain {family}: it also holds {_some(unknown)}.")
    for key, shape in expected.items():
        if tuple(state[key].shape) != shape:
            raise StitchError(
                f"The file {checkpoint.name} is no valid {family}: {key} has the shape {tuple(state[key].shape)} where"
                f" {shape} follows from the others."
            )


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - 2} more" if len(keys) > 2 else ""
    return ", ".join(keys[:2]) + more


def _read_safetensors(file: ModelFile) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        state, metadata = comfy.utils.load_torch_file(str(file.path), safe_load=True, return_metadata=True)
    except (SafetensorError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise StitchError(f"The file {file.name} is damaged or incomplete ({reason}): download it again.") from error
    return state, metadata or {}


def _read_pickle(file: ModelFile) -> Any:
    path, name = file
    try:
        with _plain_values_allowed():
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if found := re.search(r"(?:GLOBAL|Unsupported global:|Unsupported class|class) ([\w.]+\.\w+)", str(error)):
            raise StitchError(
                f"The file {name} holds code ({found[1]}) besides weights, so it is not opened: use a safetensors file."
            ) from error
        raise StitchError(f"The file {name} is damaged or no weight file: download it again.") from error
    except (RuntimeError, MemoryError, EOFError, OSError, ValueError, KeyError, IndexError, AttributeError) as error:
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            raise StitchError(
                f"There is not enough main memory to read the file {name} of {path.stat().st_size / 2**30:.1f} GiB:"
                " close other programs, or use a safetensors file, which is read in parts."
            ) from error
        raise StitchError(f"The file {name} is damaged or incomplete: download it again.") from error


def _plain_values_allowed() -> contextlib.AbstractContextManager[Any]:
    """Training scripts save their command line and numbers of numpy beside the weights: values only, no code."""
    if not hasattr(torch.serialization, "safe_globals"):  # torch 2.5
        return contextlib.nullcontext()
    allowed = torch.serialization.get_safe_globals()  # leaving the context forbids what it was given
    return torch.serialization.safe_globals([each for each in PLAIN_VALUES if each not in allowed])


def _command_line(content: Any) -> dict[str, str]:
    """Texts of the command line that a file was trained by, such as `args.model`."""
    found = content.get(ARGUMENTS) if isinstance(content, dict) else None
    if isinstance(found, argparse.Namespace):
        found = vars(found)
    if not isinstance(found, dict):
        return {}
    return {f"{ARGUMENTS}.{key}": value for key, value in found.items() if isinstance(value, str)}


def _unwrapped(content: Any) -> dict[str, Tensor]:
    if not isinstance(content, dict):
        return {}
    for wrapper in WRAPPERS:
        if isinstance(inner := content.get(wrapper), dict) and any(
            isinstance(value, Tensor) for value in inner.values()
        ):
            content = inner
            break
    return {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}


def _take_facts(state: dict[str, Tensor], name: str) -> dict[str, str]:
    key = next((key for key in state if key.endswith(FACTS)), None)
    if key is None:
        return {}
    try:
        facts = json.loads(bytes(state.pop(key).tolist()))
    except (ValueError, TypeError) as error:
        raise StitchError(f"The file {name} is damaged ({key} is not readable): save or download it again.") from error
    return {key: str(value) for key, value in facts.items()} if isinstance(facts, dict) else {}


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    while prefix := next((each for each in PREFIXES if any(key.startswith(each) for key in state)), None):
        state = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    return state
