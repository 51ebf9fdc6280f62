"""T(r) against the ideal, seconds of a step at lower resolutions, and guidance by the small model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from statistics import median

from benchmarks.gpu.card import Card, Run
from benchmarks.gpu.families import Family, families
from benchmarks.gpu.parts import Job, attempt
from benchmarks.tools.results import Row
from benchmarks.tools.timing import ideal, median_ratio
from tstitch.guidance.model import Guidance, guided_model
from tstitch.resolution.model import low_resolution, size_at

FRACTIONS = (0.2, 0.4, 0.6, 0.8)
SCALES = (1.0, 0.75, 0.5)
NAMES = {True: ("dit 256", "wan"), False: ("dit 256", "flux", "sdxl", "wan")}  # by dry
ROUNDS, WITHIN = {True: 1, False: 5}, 6.0  # by dry; seconds of one comparison
CFG = 3.0


def rows(job: Job) -> Iterator[Row]:
    for name in NAMES[job.dry]:
        if job.left <= 0:
            yield {"left out": [name]}
            continue
        family = families(job.dry)[name]()
        yield {"family": name, "title": family.name, "steps": family.steps}
        for measure in (fractions, scales, guidance):
            found = attempt(partial(measure, family, ROUNDS[job.dry])) if job.left > 0 else {"error": "out of time"}
            yield {"family": name, measure.__name__: found}
        del family
        Card().clean_up()


def timed(runs: Mapping[str, Run], rounds: int) -> dict[str, list[float]]:
    return Card().measure(runs, rounds, WITHIN)


def fractions(family: Family, rounds: int) -> Row:
    """Seconds of a run by the fraction of its steps on the small model."""
    runs = {0.0: family.large, 1.0: family.small}
    runs |= {fraction: family.stitched(family.pattern(fraction)) for fraction in FRACTIONS}
    seconds = timed({f"{r:g}": partial(family.sample, model) for r, model in sorted(runs.items())}, rounds)
    found: Row = {}
    for fraction, values in seconds.items():
        first = round(float(fraction) * family.steps)
        free = ideal([seconds["1"]] * first + [seconds["0"]] * (family.steps - first))
        found[fraction] = {
            "part": first / family.steps,  # that the steps allow
            "seconds": round(median(values), 5),
            "ideal": round(median(free), 5),
            "over ideal": median_ratio(values, free),
        }
    return found


def scales(family: Family, rounds: int) -> Row:
    """Seconds of a step of the large model by the scale of its latents."""
    models = {scale: low_resolution(family.large, scale) for scale in SCALES}
    seconds = timed({f"{scale:g}": partial(family.sample, each) for scale, each in models.items()}, rounds)
    whole = family.latent.shape[-1] * family.latent.shape[-2]
    found: Row = {}
    for scale in SCALES:
        height, width = size_at(scale, family.large, family.latent.shape)
        found[f"{scale:g}"] = {
            "tokens": round(family.tokens * height * width / whole),  # the prompt's, where it has some, included
            "seconds per step": round(median(seconds[f"{scale:g}"]) / family.steps, 5),
            "part of full": median_ratio(seconds[f"{scale:g}"], seconds["1"]),
        }
    return found


def guidance(family: Family, rounds: int) -> Row:
    """Seconds of a guided run by what answers for the negative, against the models' answers alone."""
    weak = guided_model(family.large, family.small, Guidance("weak model"))
    cheap = guided_model(family.large, family.small, Guidance("cheap negative"))
    runs: dict[str, Run] = {
        "large, guided": partial(family.sample, family.large, cfg=CFG),
        "large, unguided": partial(family.sample, family.large, cfg=1.0),
        "small, unguided": partial(family.sample, family.small, cfg=1.0),
        "weak model": partial(family.sample, weak, cfg=CFG),
        "cheap negative": partial(family.sample, cheap, cfg=CFG),
    }
    seconds = timed(runs, rounds)
    both = [a + b for a, b in zip(seconds["large, unguided"], seconds["small, unguided"], strict=True)]
    found: Row = {run: {"seconds": round(median(values), 5)} for run, values in seconds.items()}
    for run in ("weak model", "cheap negative"):
        found[run] |= {
            "over both alone": median_ratio(seconds[run], both),
            "of the guided run": median_ratio(seconds[run], seconds["large, guided"]),
        }
    return found
