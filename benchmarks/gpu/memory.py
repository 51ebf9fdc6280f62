"""What each memory policy takes, what a switch costs, and that nothing is left after errors and interrupts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from statistics import median
from typing import Any

import comfy.model_management as mm
import torch
from torch import Tensor

from benchmarks.gpu.card import Card
from benchmarks.gpu.families import Family, families
from benchmarks.gpu.parts import Cell, Job
from benchmarks.tools.results import Row
from tstitch.stitch.run import POLICIES

NAMES = {True: "dit 256", False: "flux"}  # by dry
TURNS = 4  # intervals, in which the two models take turns
TIGHT, LOW = 1.2, 0.6  # bytes that are left free, over those of the larger model
ERRORS = {"error": RuntimeError, "interrupt": mm.InterruptProcessingException}


def rows(job: Job) -> Iterator[Row]:
    family = families(job.dry)[NAMES[job.dry]]()
    yield {"title": family.name, "bytes": {"small": family.small.model_size(), "large": family.large.model_size()}}
    runs = [("large alone", family.large)]
    runs += [(policy, family.stitched(turns(family), policy)) for policy in POLICIES]
    rooms = {"ample": None, "1.2 times the larger model": TIGHT}
    cells: list[Cell] = [
        ({"room": room, "run": name}, partial(measure, family, model, share))
        for room, share in rooms.items()
        for name, model in runs
    ]
    low = [runs[0], (POLICIES[0], family.stitched(turns(family), POLICIES[0]))]
    choices = (True, False) if hasattr(mm, "MAX_PINNED_MEMORY") else (None,)
    cells += [
        ({"room": "low VRAM", "run": name, "pinned": choice}, partial(measure, family, model, LOW, choice))
        for name, model in low
        for choice in choices
    ]
    yield from job.cells(cells)
    del family, runs, low, cells
    Card().clean_up()
    small = families(job.dry)["starter"]()
    yield from job.cells([({"after": name}, partial(leftovers, small, error)) for name, error in ERRORS.items()])


def turns(family: Family) -> str:
    """A pattern in which the models take turns."""
    count = min(TURNS, family.steps)
    length = family.steps // count
    counts = [length] * (count - 1) + [family.steps - length * (count - 1)]
    return " ".join(f"{1 + number % 2}x{each}" for number, each in enumerate(counts))


def measure(family: Family, model: Any, share: float | None, is_pinned: bool | None = None) -> Row:
    """Peak bytes, seconds, and seconds of a switch: from nothing loaded, and once more with what then stays loaded."""
    card = Card()
    card.clean_up()
    ballast = None if share is None else card.ballast(int(share * family.large.model_size()))
    held = 0 if ballast is None else ballast.numel()
    with pinning(is_pinned):
        first, again = StepTimes(card), StepTimes(card)
        with Watched(family) as watched:
            allocated, reserved = card.peak(partial(first.sample, family, model))
        seconds = card.seconds(partial(again.sample, family, model))
    found = {
        "peak allocated": allocated - held,
        "peak reserved": reserved - held,
        "first seconds": round(sum(first.seconds), 4),
        "seconds": round(seconds, 4),
        "seconds of a switch": again.of_a_switch(watched.owners),
        "part of the large model on the device": round(family.large.loaded_size() / family.large.model_size(), 3),
    }
    del ballast
    card.clean_up()
    return found


@contextmanager
def pinning(is_pinned: bool | None) -> Iterator[None]:
    """With or without the host's pinned memory; None leaves that to the host. Raises where the host has no such."""
    if is_pinned is None:
        yield
        return
    before = mm.MAX_PINNED_MEMORY
    if is_pinned and before <= 0 and mm.get_torch_device().type != "cpu":
        raise RuntimeError("the host pins no memory here")
    mm.MAX_PINNED_MEMORY = before if is_pinned else -1
    try:
        yield
    finally:
        mm.MAX_PINNED_MEMORY = before


class Watched:
    """Notes which model each step asked last."""

    def __init__(self, family: Family) -> None:
        self._networks = {"small": family.small.model.diffusion_model, "large": family.large.model.diffusion_model}
        self.owners: list[str] = []

    def __enter__(self) -> Watched:
        self._handles = [
            network.register_forward_pre_hook(lambda *_, name=name: self.owners.append(name))
            for name, network in self._networks.items()
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()


class StepTimes:
    """Seconds of each step of a run, of the clock on the wall."""

    def __init__(self, card: Card) -> None:
        self._card, self._since = card, 0.0
        self.seconds: list[float] = []

    def sample(self, family: Family, model: Any) -> None:
        self._since = self._now()
        family.sample(model, callback=self._step)

    def _step(self, *_: object) -> None:
        now = self._now()
        self.seconds.append(now - self._since)
        self._since = now

    def _now(self) -> float:
        self._card.synchronize()
        return time.perf_counter()

    def of_a_switch(self, owners: list[str]) -> float | None:
        """What the first step of an interval takes beyond the others of its model; None where none is a switch.

        The first step of all is left out: the host loads in it whatever the run is. owners: of each step; runs with
        several calls per step have none here.
        """
        if len(owners) != len(self.seconds):
            return None
        usual: dict[str, list[float]] = {}
        switches = []
        for step in range(1, len(owners)):
            if owners[step] != owners[step - 1]:
                switches.append(step)
            else:
                usual.setdefault(owners[step], []).append(self.seconds[step])
        costs = [self.seconds[step] - median(usual[owners[step]]) for step in switches if owners[step] in usual]
        return round(median(costs), 5) if costs else None


def leftovers(family: Family, error: type[Exception]) -> Row:
    """Bytes left on the device after a run that fails in each of its steps, and whether the next one is as ever."""
    card = Card()
    expected = run(family)
    card.clean_up()
    before, left, same = card.allocated(), [], True
    for step in range(family.steps):
        with suppress(error):
            run(family, partial(fail, step, error))
        if step % 4 == 0:
            same = same and torch.equal(run(family), expected)
        card.clean_up()
        left.append(card.allocated() - before)
    return {"steps": family.steps, "most bytes left": max(left), "same afterwards": same}


def run(family: Family, callback: Any = None) -> Tensor:
    return family.sample(family.stitched(turns(family), "swap"), callback=callback)


def fail(at: int, error: type[Exception], step: int, *_: object) -> None:
    if step == at:
        raise error("on purpose")
