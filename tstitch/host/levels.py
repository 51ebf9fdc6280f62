"""Noise levels that Python knows without a wait for the device.

A sampler makes the level of a call from the sigmas it is given, by a few small operations on the device; to read it
there, Python would have to wait for all work that is queued. So every such operation is done a second time, on the
CPU, with the numbers as they are known there. What cannot be followed is read from the device.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .devices import WITH_EVENTS

#: Kinds of device whose values are worth following. A tensor of any other is read at once.
FOLLOWED = WITH_EVENTS
LARGEST = 8192  # elements of a tensor of levels; a latent is not followed, however small
MARK = "_tstitch_known"

_ARITHMETIC = (
    "abs add addcdiv addcmul atan ceil clamp clamp_max clamp_min cos cosh cumprod cumsum diff div divide exp exp2 expm1"
    " floor lerp linspace log log10 log1p log2 max maximum mean min minimum mul multiply neg negative pow prod"
    " reciprocal remainder round rsqrt rsub sigmoid sin sinh softplus sqrt square sub subtract sum tan tanh"
    " true_divide where"
)
_SHAPES = (
    "broadcast_to cat clone concat contiguous detach expand expand_as flatten flip getitem index_select narrow"
    " permute ravel repeat reshape select squeeze stack tile unsqueeze view view_as"
)
_REFLECTED = ("radd", "rsub", "rmul", "rdiv", "rtruediv", "rpow", "truediv")
#: Operations whose result follows from their arguments alone, and is the same on every device but for rounding.
FOLLOWED_OPERATIONS = frozenset((*_ARITHMETIC.split(), *_SHAPES.split(), *_REFLECTED))
CONVERSIONS = frozenset(("to", "cuda", "xpu", "cpu", "type", "type_as", "float", "double", "half", "bfloat16"))
#: What makes new tensors of plain numbers.
MADE: dict[str, Callable[..., Tensor]] = {
    **dict.fromkeys(("ones", "new_ones", "ones_like"), torch.ones),
    **dict.fromkeys(("zeros", "new_zeros", "zeros_like"), torch.zeros),
}
MADE_OF_NUMBERS = frozenset(("tensor", "as_tensor", "new_tensor", "full", "new_full", "full_like"))


class _Known:
    """The values of a tensor, and the run in which they are known."""

    def __init__(self, values: Tensor, run: FollowedLevels | None) -> None:
        self.values, self.run = values, run

    def first(self) -> float | None:
        if self.run is not None and self.run.is_lost:
            return None
        return float(self.values.reshape(-1)[:1].tolist()[0])

    def __deepcopy__(self, memo: Any) -> None:
        """A copy of the tensor is not followed."""


def level_of(sigma: Tensor) -> float:
    """The noise level of a model call."""
    known = getattr(sigma, MARK, None)
    value = None if known is None else known.first()
    return read(sigma) if value is None else value


def read(sigma: Tensor) -> float:
    """From its device, which must have made it by then."""
    return float(sigma.reshape(-1)[0])


def filled(like: Tensor, level: float) -> Tensor:
    """A tensor as `like` of one level, which `level_of` then knows."""
    made = like.new_full(like.shape, level)
    if is_followed(made):
        setattr(made, MARK, _Known(torch.tensor([level], dtype=made.dtype), None))
    return made


def is_followed(tensor: Tensor) -> bool:
    return tensor.device.type in FOLLOWED


_active = threading.local()


@contextmanager
def followed(sigmas: Tensor) -> Iterator[None]:
    """Have `level_of` know what a sampler makes of `sigmas`."""
    if not is_followed(sigmas):
        yield
        return
    run = getattr(_active, "run", None)
    if run is not None:  # that of a run of which this one is a stage
        run.follow(sigmas)
        yield
        return
    _active.run = run = FollowedLevels()
    run.follow(sigmas)
    try:
        with run:
            yield
    finally:
        _active.run = None
        run.is_lost = True  # others may change what this run has marked


@contextmanager
def unfollowed() -> Iterator[None]:
    """While networks run, which have thousands of operations and may be compiled."""
    run = getattr(_active, "run", None)
    if run is None or run.is_paused:
        yield
        return
    on_top = current_mode() is run
    run.is_paused = True
    if on_top:
        run.__exit__(None, None, None)
    try:
        yield
    finally:
        if on_top:
            run.__enter__()
        run.is_paused = False


def current_mode() -> Any:
    """The innermost mode; None where this PyTorch does not tell."""
    tell = getattr(torch.overrides, "_get_current_function_mode", None)
    return None if tell is None else tell()


class FollowedLevels(TorchFunctionMode):
    """Follows small tensors through one run of a sampler; each operation itself is left as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.is_paused = False
        self.is_lost = False  # something was changed in a way that cannot be followed
        self._marked: dict[int, list[weakref.ref[Tensor]]] = {}  # by the memory that they share

    def follow(self, sigmas: Tensor) -> None:
        self._note(sigmas, sigmas.detach().to("cpu", copy=True))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if self.is_paused or self.is_lost:
            return result
        name = getattr(func, "__name__", "")
        if "out" in kwargs or name == "__set__":
            self._lose(kwargs.get("out", args[0] if args else None))
        elif name == "__setitem__" or is_in_place(name):
            self._change(func, args, kwargs)
        elif isinstance(result, Tensor) and is_followed(result) and result.numel() <= LARGEST:
            values = self._values(func, name.strip("_"), args, kwargs, result)
            if values is not None and result is not (args[0] if args else None):
                self._note(result, values)
        return result

    def _note(self, tensor: Tensor, values: Tensor) -> None:
        setattr(tensor, MARK, _Known(values, self))
        self._marked[place_of(tensor)] = [*self._sharing(tensor), weakref.ref(tensor)]

    def _sharing(self, tensor: Tensor) -> list[weakref.ref[Tensor]]:
        """What is marked and still there, in the memory of `tensor`."""
        return [marked for marked in self._marked.get(place_of(tensor), []) if marked() is not None]

    def _values(self, func: Any, name: str, args: Any, kwargs: Any, result: Tensor) -> Tensor | None:
        """Of `result`; None where they are not known."""
        if name in MADE:
            return MADE[name](result.shape, dtype=result.dtype)
        if name in MADE_OF_NUMBERS:
            return self._of_numbers(name, args, kwargs, result)
        if name in CONVERSIONS:
            source = self._known(args[0])
            return None if source is None else source.to(result.dtype, copy=True)
        if name not in FOLLOWED_OPERATIONS:
            return None
        known = self._all_known(args, kwargs)
        if known is None:
            return None
        values = done(func, *known)
        is_usable = isinstance(values, Tensor) and values.shape == result.shape and values.device.type == "cpu"
        return values if is_usable else None

    def _of_numbers(self, name: str, args: Any, kwargs: Any, result: Tensor) -> Tensor | None:
        if name not in ("full", "new_full", "full_like") and args and isinstance(args[-1], Tensor):
            source = self._known(args[-1])
            return None if source is None else source.to(result.dtype, copy=True)
        numbers = [value for value in (*args, *kwargs.values()) if isinstance(value, (int, float))]
        if len(numbers) != 1 or isinstance(numbers[0], bool):
            return None
        return torch.full(result.shape, numbers[0], dtype=result.dtype)

    def _change(self, func: Any, args: Any, kwargs: Any) -> None:
        """The first argument is changed in place."""
        target = args[0]
        if not (isinstance(target, Tensor) and is_followed(target) and target.numel() <= LARGEST):
            return
        known = self._all_known(args, kwargs) if self._known(target) is not None else None
        if known is None or done(func, *known) is FAILED:
            self._lose(target)

    def _lose(self, target: Any) -> None:
        """`target` is changed in a way that cannot be followed: what shares its memory is no longer known."""
        for tensor in target if isinstance(target, (list, tuple)) else [target]:
            if isinstance(tensor, Tensor) and self._sharing(tensor):
                self.is_lost = True

    def _known(self, value: Any) -> Tensor | None:
        if not is_followed(value):
            return value if value.numel() <= LARGEST else None
        known = getattr(value, MARK, None)
        return known.values if isinstance(known, _Known) and known.run is self else None

    def _all_known(self, args: Any, kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """The arguments as they are known on the CPU; None where one is not, or where none is a tensor."""
        missing = [False]

        def of(value: Any) -> Any:
            if isinstance(value, Tensor):
                found = self._known(value)
                missing[0] = missing[0] or found is None
                return found
            if isinstance(value, (list, tuple)):
                return type(value)(map(of, value)) if not hasattr(value, "_fields") else value
            if isinstance(value, torch.device):
                return torch.device("cpu")
            return value

        found = tuple(map(of, args)), {name: of(value) for name, value in kwargs.items()}
        return None if missing[0] else found


FAILED = object()


def done(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of an operation on the CPU, or `FAILED`, as a few know no such type there."""
    try:
        return func(*args, **kwargs)
    except (RuntimeError, TypeError, NotImplementedError):
        return FAILED


def place_of(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def is_in_place(name: str) -> bool:
    """Of an operation: `mul_`, and `__imul__`, which is `x *= y`."""
    if name.startswith("__"):
        return name in _IN_PLACE
    return name.endswith("_")


_IN_PLACE = frozenset(f"__i{name}__" for name in ("add", "sub", "mul", "div", "truediv", "floordiv", "mod", "pow"))
