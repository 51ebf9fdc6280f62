"""`python -m scripts.noise_table`: what 0.4 of the steps means for usual models, as a share of noise.

Writes the table of js/docs/TStitchModelSchedule.md from the host's own schedules.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parent.parent / "js" / "docs" / "TStitchModelSchedule.md"
STEPS, FRACTION = 20, 0.4
#: Kind of sampling and shift in the host, and the schedulers people use.
MODELS: dict[str, tuple[str, float | None, tuple[str, ...]]] = {
    "SD 1.x, SDXL": ("ModelSamplingDiscrete", None, ("normal", "karras", "simple")),
    "SD3": ("ModelSamplingDiscreteFlow", 3.0, ("simple", "sgm_uniform")),
    "Flux": ("ModelSamplingFlux", 1.15, ("simple", "beta")),
    "Wan": ("ModelSamplingDiscreteFlow", 8.0, ("simple", "beta")),
}


def sampling_of(kind: str, shift: float | None) -> Any:
    import comfy.model_sampling

    mixture = comfy.model_sampling.EPS if shift is None else comfy.model_sampling.CONST
    sampling = type(kind, (getattr(comfy.model_sampling, kind), mixture), {})()
    if shift is not None:
        sampling.set_parameters(shift=shift)
    return sampling


def rows() -> list[str]:
    """Markdown."""
    from comfy.samplers import calculate_sigmas

    from tstitch.trajectory import noises_of

    found = [f"| model | scheduler | noise after {FRACTION:g} of {STEPS} steps |", "|---|---|---|"]
    for name, (kind, shift, schedulers) in MODELS.items():
        sampling = sampling_of(kind, shift)
        for scheduler in schedulers:
            sigmas = calculate_sigmas(sampling, scheduler, STEPS).tolist()
            (share,) = noises_of([sigmas[round(FRACTION * STEPS)]], sampling)
            shown = f"{name} (shift {shift:g})" if shift is not None else name
            found.append(f"| {shown} | {scheduler} | {share:.2f} |")
    return found


def with_table(text: str, table: list[str]) -> str:
    """The page with `table` in place of the one that has its first column's heading."""
    pattern = re.compile(r"\| model \| scheduler \|.*?(?=\n\n|\Z)", re.DOTALL)
    return pattern.sub("\n".join(table), text)


def main() -> int:
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), rows()).rstrip() + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
