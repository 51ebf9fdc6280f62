"""Every sampler x every scheduler: one model in every stage is the stock sampler, bit for bit, on both surfaces.

`pytest -s` prints the table of the cells.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import comfy.sample
import comfy.samplers
import pytest
import torch
from comfy.model_base import ModelType
from torch import Tensor

from tstitch.stitch.guider import StitchedGuider
from tstitch_testing.models import calls_of, conditioning, gaussian_model
from tstitch_testing.sampling import ksample, stitch_of, stitched

SCHEDULERS = comfy.samplers.SCHEDULER_NAMES
STEPS, CFG, SEED = 4, 3.0, 1
MASK = (torch.arange(12) % 3 != 0).float().reshape(1, 1, 4, 3)


@dataclass(frozen=True)
class Variant:
    """What differs from a plain text-to-image run."""

    batch: int = 1
    denoise: float = 1.0
    image: bool = False
    mask: bool = False
    start: int | None = None
    stop: int | None = None
    leftover: bool = False
    kind: ModelType = ModelType.EPS

    @property
    def latent(self) -> Tensor:
        flat = torch.linspace(-1, 1, self.batch * 48) if self.image else torch.zeros(self.batch * 48)
        return flat.reshape(self.batch, 4, 4, 3)

    @property
    def noise_mask(self) -> Tensor | None:
        return MASK if self.mask else None

    def sigmas(self, model: Any, sampler: str, scheduler: str) -> Tensor:
        sigmas = comfy.samplers.KSampler(model, STEPS, "cpu", sampler, scheduler, self.denoise).sigmas.clone()
        if self.stop is not None and self.stop < len(sigmas) - 1:
            sigmas = sigmas[: self.stop + 1]
            sigmas[-1] = sigmas[-1] if self.leftover else 0
        return sigmas[self.start :]


VARIANTS = {
    "plain": Variant(),
    "flow": Variant(kind=ModelType.FLOW),
    "batch 3": Variant(batch=3),
    "denoise .5": Variant(denoise=0.5, image=True),
    "mask": Variant(image=True, mask=True),
    ".5, mask, 3": Variant(batch=3, denoise=0.5, image=True, mask=True),
    "0-3 noisy": Variant(image=True, stop=3, leftover=True),
    "1-3 full": Variant(image=True, start=1, stop=3),
}

Pairs = dict[ModelType, tuple[Any, Any]]
Table = dict[str, dict[str, tuple[int, int]]]


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    """Two models of equal weights, small and large."""
    return {kind: (gaussian_model(kind=kind), gaussian_model(kind=kind)) for kind in (ModelType.EPS, ModelType.FLOW)}


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    rows: Table = {}
    yield rows
    sys.stdout.write(f"\n{as_text(rows)}\n")


def as_text(rows: Table) -> str:
    """Cells exact / cells run: a line a sampler, and their sum."""
    sums = {name: tuple(sum(row[name][index] for row in rows.values()) for index in (0, 1)) for name in VARIANTS}
    lines = [f"{'exact / run':30}" + "".join(f"{name:>14}" for name in VARIANTS)]
    for sampler, row in {**rows, "all": sums}.items():
        lines.append(f"{sampler:30}" + "".join(f"{f'{row[name][0]} / {row[name][1]}':>14}" for name in VARIANTS))
    return "\n".join(lines)


def halves(sigmas: Tensor) -> str:
    """A pattern that switches in the middle of the run."""
    steps = len(sigmas) - 1
    return f"1x{steps // 2} 2x{steps - steps // 2}"


def by_stock(model: Any, sampler: str, scheduler: str, variant: Variant) -> Tensor:
    return ksample(
        model,
        sampler,
        scheduler,
        STEPS,
        CFG,
        SEED,
        variant.latent,
        denoise=variant.denoise,
        noise_mask=variant.noise_mask,
        start_step=variant.start,
        last_step=variant.stop,
        force_full_denoise=variant.stop is not None and not variant.leftover,
    )


def by_model(pair: tuple[Any, Any], sampler: str, scheduler: str, variant: Variant) -> Tensor:
    """The MODEL surface, with the very same model in both stages."""
    model = pair[1]
    pattern = halves(variant.sigmas(model, sampler, scheduler))
    return by_stock(stitched([model, model], pattern=pattern), sampler, scheduler, variant)


def by_guiders(pair: tuple[Any, Any], sampler: str, scheduler: str, variant: Variant) -> Tensor:
    """The GUIDER surface, with two models; each must be called, if the sampler keeps to the levels it is given."""
    guiders = []
    for model in pair:
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(conditioning(0.4), conditioning(-0.2))
        guider.set_cfg(CFG)
        guiders.append(guider)
        calls_of(model).clear()
    sigmas = variant.sigmas(pair[1], sampler, scheduler)
    middle = sigmas[(len(sigmas) - 1) // 2 - 1 :][:2].mean().item()  # a pattern would count the whole schedule
    stitched_guider = StitchedGuider(guiders[1], guiders[:1], stitch_of(2, f"{middle:.9f}", "sigma"))
    noise = comfy.sample.prepare_noise(variant.latent, SEED)
    samples = stitched_guider.sample(
        noise,
        variant.latent,
        comfy.samplers.sampler_object(sampler),
        sigmas,
        denoise_mask=variant.noise_mask,
        disable_pbar=True,
        seed=SEED,
    )
    assert all(calls_of(model) for model in pair) or sampler in OWN_LEVELS
    return samples


#: These make their own levels between the first and the last, so a stage may get no call.
OWN_LEVELS = ("dpm_fast", "dpm_adaptive")
SURFACES = {"MODEL": by_model, "GUIDER": by_guiders}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sampler", comfy.samplers.SAMPLER_NAMES)
def test_every_cell_is_bit_exact(sampler: str, pairs: Pairs, table: Table) -> None:
    different, row = [], {}
    for name, variant in VARIANTS.items():
        pair, exact = pairs[variant.kind], 0
        for scheduler in SCHEDULERS:
            expected = by_stock(pair[1], sampler, scheduler, variant)
            for surface, sample in SURFACES.items():
                if torch.equal(sample(pair, sampler, scheduler, variant), expected):
                    exact += 1
                else:
                    different.append(f"{sampler} {scheduler} {name} {surface}")
        row[name] = (exact, len(SCHEDULERS) * len(SURFACES))
    table[sampler] = row
    assert not different, f"{different}\n{as_text(table)}"
