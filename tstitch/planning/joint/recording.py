"""Records, for a calibration, what a joint plan is made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ...host.model_options import is_stitched
from ...stitch.model import ModelStage
from ..calibration.measure import Progress, Settings
from ..calibration.record import Calibration
from .edges import edges_of, error_along, nearest_levels, order_of
from .measure import FIRST_SEED, LEVELS, Course, FineRuns, Option, seeds_for
from .record import EdgeTable, StepErrors, StockRun

HELD_OUT = 4  # samples on which plans are compared, at least


def with_step_errors(
    calibration: Calibration, names: Sequence[str], stages: Sequence[ModelStage], latent: dict[str, Any], run: Settings
) -> Calibration:
    """`calibration`, of the same models and settings, with the errors of all steps. Raises StitchError."""
    networks = networks_of([stage.model for stage in stages])
    options = [Option(*each) for each in zip(names, stages, networks, strict=True)]
    course = Course(run.sampler_name, run.scheduler, own=run.sigmas)
    model = stages[-1].model
    levels = course.fine_sigmas(model)
    counts = seeds_for(latent), seeds_for(latent, HELD_OUT)
    progress = Progress(model, sum(counts) * (len(levels) - 1) * len(options))
    both, seed = [], FIRST_SEED
    for count in counts:
        runs = FineRuns(options, latent, course, progress)
        for _ in range(count):
            runs.add(seed)
            seed += 1
        both.append(runs)
    order, products = order_of(run.sampler_name), [runs.products() for runs in both]
    stock = []
    for steps in range(1, LEVELS + 1):
        sigmas = tuple(float(sigma) for sigma in course.sigmas(model, steps))
        near = nearest_levels(products[0].sigmas, sigmas)
        errors = [None if near is None else error_along(each, near, len(options) - 1, order) for each in products]
        stock.append(StockRun(sigmas, *errors))
    planned, held_out = (EdgeTable.of(edges_of(each, order)) for each in products)
    found = StepErrors(planned, held_out, tuple(stock), networks, both[0].samples, both[1].samples)
    return replace(calibration, step_errors=found)


def networks_of(models: Sequence[Any]) -> tuple[int, ...]:
    """One number for models that share their weights; one of its own for each that needs others beside them."""
    known: list[Any] = []
    found = []
    for model in models:
        key = model if is_stitched(model) else model.model
        if not any(key is each for each in known):
            known.append(key)
        found.append(next(place for place, each in enumerate(known) if each is key))
    return tuple(found)
