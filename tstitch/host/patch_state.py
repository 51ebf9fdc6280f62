"""What patches of other packs remember from step to step, so that no run and no stage depends on the one before."""

from __future__ import annotations

import copy
import dis
from collections.abc import Callable, Iterator
from types import CellType, FunctionType
from typing import Any

from torch import Tensor, cat

from .clones import OURS
from .model_options import OF_THE_RUN, leaves

WRAPPER = "model_function_wrapper"


def opening(options: dict[str, Any], step: int) -> dict[str, Any]:
    """`options` with which the network sees `step`, the first that its stage takes, as the first of the run.

    Caches (TeaCache, MagCache) set up and forget when the noise level is the first of `sample_sigmas`. Only the network
    and what is wrapped around it are told so: guidance functions (CFGZeroStar's first steps) see the place in the run.
    """
    earlier = options.get(WRAPPER)

    def wrapper(apply_model: Callable[..., Tensor], args: dict[str, Any]) -> Tensor:
        args = {**args, "c": _from_step(args["c"], step)}
        if earlier is not None:
            return earlier(apply_model, args)
        return apply_model(args["input"], args["timestep"], **args["c"])

    return {**options, WRAPPER: wrapper}


def network_key(model: Any, options: dict[str, Any]) -> tuple[int, frozenset[int]]:
    """Equal for stages that are one network with the same patches in and around it."""
    told = options.get("transformer_options", {})
    around = {
        kind: {key: each for key, each in found.items() if key != OURS}
        for kind, found in told.get("wrappers", {}).items()
    }
    inside = {key: told.get(key, {}) for key in ("patches", "patches_replace")}
    return id(model), frozenset(map(id, [options.get(WRAPPER), *leaves(around), *leaves(inside)]))


def _from_step(c: dict[str, Any], step: int) -> dict[str, Any]:
    """The levels from `step` on, as many as before: some caches count them."""
    told = c.get("transformer_options", {})
    levels = told.get("sample_sigmas")
    if levels is None or len(levels) <= step:
        return c
    levels = cat([levels[step:], levels[-1:].expand(step)])
    return {**c, "transformer_options": {**told, "sample_sigmas": levels}}


class PatchState:
    """The variables that functions of a MODEL's patches set for their next call (`nonlocal`), as they are now.

    The host's APG keeps its momentum so, and forgets it only when the noise rises, which it need not between two runs
    of an early stage.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self._cells: list[tuple[CellType, Any]] = []
        for cell in _set_by(_functions(options)):
            try:
                self._cells.append((cell, copy.copy(cell.cell_contents)))
            except ValueError:  # nothing is in it yet
                continue

    def restore(self) -> None:
        for cell, content in self._cells:
            cell.cell_contents = copy.copy(content)


def _functions(options: dict[str, Any]) -> Iterator[Any]:
    for key in (*OF_THE_RUN, WRAPPER):
        value = options.get(key)
        yield from value if isinstance(value, list) else [value]


def _set_by(functions: Iterator[Any]) -> Iterator[CellType]:
    """The outer variables that plain functions, and those that these call, set themselves."""
    known: set[int] = set()
    waiting = list(functions)
    while waiting:
        function = waiting.pop()
        if not isinstance(function, FunctionType) or id(function) in known:
            continue
        known.add(id(function))
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        names = {found.argval for found in dis.get_instructions(function) if found.opname == "STORE_DEREF"}
        yield from (cell for name, cell in cells.items() if name in names)
        for cell in cells.values():
            try:
                waiting.append(cell.cell_contents)
            except ValueError:
                continue
