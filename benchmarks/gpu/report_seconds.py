"""The seconds of the run report and of the page's timeline, against the device's own clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.card import Card
from benchmarks.gpu.families import Family, families
from benchmarks.gpu.parts import Job
from benchmarks.tools.results import Row
from tstitch.page.progress import progress
from tstitch.stitch.report import Report
from tstitch.stitch.run import Stitch
from tstitch_testing.sampling import stitch_of

NAMES = {True: ("dit 256",), False: ("dit 256", "flux")}  # by dry
FRACTION = 0.4
SAMPLERS = ("euler", "dpmpp_2m", "heun")


def rows(job: Job) -> Iterator[Row]:
    for name in NAMES[job.dry]:
        if job.left <= 0:
            yield {"left out": [name]}
            continue
        family = families(job.dry)[name]()
        cells = [({"family": name, "sampler": each}, partial(measure, family, each)) for each in SAMPLERS]
        yield from job.cells(cells)
        del family, cells
        Card().clean_up()


class Clock:
    """When each network began and ended, on the device."""

    def __init__(self, card: Card, networks: list[torch.nn.Module]) -> None:
        self.card = card
        self.calls: list[tuple[int, Any, Any]] = []  # network, its beginning and its end
        self._began: Any = None
        self._handles = []
        for index, network in enumerate(networks):
            self._handles.append(network.register_forward_pre_hook(self._begin))
            self._handles.append(network.register_forward_hook(partial(self._end, index)))

    def _begin(self, *_: Any) -> None:
        self._began = self.card.mark()

    def _end(self, index: int, *_: Any) -> None:
        self.calls.append((index, self._began, self.card.mark()))

    def seconds(self, index: int) -> float:
        return sum(self.card.between(start, end) for network, start, end in self.calls if network == index)

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()


class Timeline:
    """Looks on as the page does, at every call."""

    def __init__(self, card: Card) -> None:
        self._card = card
        self.told: list[tuple[float, Any]] = []  # all seconds of the timeline, and the moment on the device

    def begin(self, report: Report) -> None:
        self.told.clear()

    def call(self, report: Report, now: float) -> None:
        self.told.append((sum(progress(report, False)["secondsPerStage"]), self._card.mark()))

    def finish(self, report: Report) -> None:
        self.told.append((sum(progress(report, True)["secondsPerStage"]), self._card.mark()))


def measure(family: Family, sampler: str) -> Row:
    card = Card()
    timeline = Timeline(card)
    plain = stitch_of(2, pattern=family.pattern(FRACTION))
    stitch = Stitch(plain.spec, plain.memory, plain.names, Report.of(plain.names, timeline))
    model = family.stitched_by(stitch)
    family.sample(model, sampler)  # loads
    clock = Clock(card, [each.model.diffusion_model for each in (family.small, family.large)])
    marks: list[Any] = []
    try:
        with marked(marks, card, sampler):
            family.sample(model, sampler)
    finally:
        clock.close()
    loop = card.between(*marks)
    stages = stitch.report.to_dict()["stages"]
    told = [stage["seconds"] for stage in stages]
    return {
        "loop on the device": round(loop, 5),
        "report": round(sum(told), 5),
        "report over loop": round(sum(told) / loop, 4),
        "stages": [
            {"report": told[index], "network on the device": round(clock.seconds(index), 5)} for index in range(2)
        ],
        "timeline at the end": round(timeline.told[-1][0], 5),
        "timeline behind": round(max(card.between(marks[0], moment) - seconds for seconds, moment in timeline.told), 5),
    }


class marked:  # noqa: N801
    """Notes when the sampler's loop begins and ends."""

    def __init__(self, marks: list[Any], card: Card, sampler: str) -> None:
        import comfy.samplers

        self._module, self._marks, self._card = comfy.samplers, marks, card
        self._original: Callable[..., Any] = comfy.samplers.sampler_object

    def __enter__(self) -> None:
        def sampler_object(name: str) -> Any:
            solver = self._original(name)
            function = solver.sampler_function

            def timed(*args: Any, **kwargs: Any) -> Tensor:
                self._marks.append(self._card.mark())
                samples = function(*args, **kwargs)
                self._marks.append(self._card.mark())
                return samples

            solver.sampler_function = timed
            return solver

        self._module.sampler_object = sampler_object

    def __exit__(self, *_: object) -> None:
        self._module.sampler_object = self._original
