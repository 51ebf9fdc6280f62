"""torch.compile of each stage: how many graphs the first run makes, and that later ones make none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any

import torch
from comfy_api.torch_helpers import set_torch_compile_wrapper

from benchmarks.gpu.card import Card
from benchmarks.gpu.families import Family, dit, families
from benchmarks.gpu.parts import Cell, Job
from benchmarks.tools.results import Row
from tstitch.stitch.model import ModelStage, stitch_model
from tstitch_testing.sampling import stitch_of

CUT = ((4, 384, 6), (6, 1152, 16))  # DiTs at real width with few blocks, as each block is compiled by itself
FRACTION, OTHER_FRACTION = 0.4, 0.6
ROUNDS, WITHIN = 5, 5.0  # seconds
CASES = {"both": (True, True), "small": (True, False), "large": (False, True)}
DRY_CASES = {"both": CASES["both"]}


def rows(job: Job) -> Iterator[Row]:
    family = families(True)["dit 256"]() if job.dry else dit("DiT cut to 4 and 6 blocks, 256", 16, CUT, 10)
    yield {"title": family.name, "steps": family.steps}
    cases = DRY_CASES if job.dry else CASES
    cells: list[Cell] = [({"compiled": name}, partial(measure, family, case, job.dry)) for name, case in cases.items()]
    yield from job.cells([*cells, ({"stock sampler": "large"}, partial(measure_stock, family, job.dry))])


def measure(family: Family, case: tuple[bool, bool], dry: bool) -> Row:
    torch.compiler.reset()
    card = Card()
    graphs: dict[str, list[Any]] = {"small": [], "large": []}
    stages = [
        compiled(model, graphs[name], dry) if here else model
        for (name, model), here in zip({"small": family.small, "large": family.large}.items(), case, strict=True)
    ]
    runs = [run_of(family, stages, fraction) for fraction in (FRACTION, OTHER_FRACTION)]
    plain = run_of(family, [family.small, family.large], FRACTION)
    expected = plain()
    first = card.seconds(runs[0])
    after_first = {name: len(found) for name, found in graphs.items()}
    card.seconds(runs[1])
    after_second = sum(map(len, graphs.values()))
    found = runs[0]()
    seconds = card.measure({"compiled": runs[0], "plain": plain}, ROUNDS, WITHIN)
    row: Row = {
        "graphs": after_first,
        "recompiles": sum(map(len, graphs.values())) - sum(after_first.values()),
        "of the other fraction": after_second - sum(after_first.values()),
        "first seconds": round(first, 3),
        "seconds": {name: round(median(values), 5) for name, values in seconds.items()},
        "difference": round(float((found - expected).norm() / expected.norm()), 7),
    }
    torch.compiler.reset()
    return row


def measure_stock(family: Family, dry: bool) -> Row:
    """Graphs of three runs of the stock sampler, with which the stitched ones compare."""
    torch.compiler.reset()
    graphs: list[Any] = []
    model, after = compiled(family.large, graphs, dry), []
    for _ in range(3):
        family.sample(model)
        after.append(len(graphs))
    torch.compiler.reset()
    return {"graphs": {"large": after[0]}, "recompiles": after[-1] - after[0]}


def compiled(model: Any, graphs: list[Any], dry: bool) -> Any:
    """As the host's TorchCompileModel does it, with a note of every graph."""

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(len(inputs))
        if dry:
            return graph.forward
        from torch._inductor.compile_fx import compile_fx

        return compile_fx(graph, inputs)

    clone = model.clone()
    set_torch_compile_wrapper(model=clone, backend=backend)
    return clone


def run_of(family: Family, stages: list[Any], fraction: float) -> Callable[[], Any]:
    stitch = stitch_of(2, pattern=family.pattern(fraction))
    model = stitch_model(stages[1], [ModelStage(stages[0])], stitch)
    return partial(family.sample, model)
