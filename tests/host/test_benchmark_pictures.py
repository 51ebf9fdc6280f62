"""The pictures that the benchmarks score are drawn as their rows say."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import pytest
import torch

from benchmarks.tools.settings import XL, B, Guide, Part, S, Setting, stitched
from benchmarks.tools.starter import flops, weights_path
from benchmarks.tools.studio import Studio

HALF = Part("XL", 0.5)
ALONE = Setting((XL,), (0,) * 4)
LABELS = torch.arange(2)


@pytest.fixture(scope="module")
def studio(host_nodes: ModuleType) -> Studio:
    return Studio(host_nodes.NODE_CLASS_MAPPINGS)


def latents(studio: Studio, setting: Setting) -> torch.Tensor:
    return studio.sample(setting, LABELS, 5)["samples"]


@pytest.mark.parametrize(
    ("setting", "calls"),
    [
        (ALONE, {"XL": 8}),
        (replace(ALONE, cfg=1.0), {"XL": 4}),
        (stitched((S, XL), 0.5, steps=4), {"S": 4, "XL": 4}),
        (stitched((S, B, XL), 0.25, 0.25, steps=4), {"S": 2, "B": 2, "XL": 4}),
        (stitched((HALF, XL), 0.5, steps=4), {"XL 0.5x": 4, "XL": 4}),
        (replace(ALONE, guide=Guide(S)), {"XL": 4, "S": 4}),
        (replace(ALONE, guide=Guide(HALF, start=0.25, end=0.75)), {"XL": 4, "XL 0.5x": 2}),
        (replace(stitched((S, XL), 0.5, steps=4), guide=Guide(S, start=0.5)), {"S": 4, "XL": 2}),
        (replace(stitched((HALF, XL), 0.5, steps=4), side=32), {"XL 0.5x": 4, "XL": 4}),
    ],
    ids=lambda value: value.title if isinstance(value, Setting) else None,
)
def test_every_pass_is_counted(studio: Studio, setting: Setting, calls: dict[str, int]) -> None:
    drawing = studio.draw(setting, 2)
    assert drawing.calls == calls
    assert drawing.pixels.shape == (2, 3, 64, 64)
    sides = {"XL 0.5x": ("XL", setting.side // 2)}
    models = {name: sides.get(name, (name, setting.side)) for name in calls}
    expected = sum(count * flops(weights_path(models[name][0]), models[name][1]) for name, count in calls.items())
    assert drawing.flops == pytest.approx(expected)


def test_one_seed_is_one_noise(studio: Studio) -> None:
    first, again, other = (studio.draw(setting, 2).pixels for setting in (ALONE, *ALONE.seeded(0, 1)))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=0.1)


def test_a_model_as_its_own_negative_is_plain_guidance(studio: Studio) -> None:
    plain, own = latents(studio, ALONE), latents(studio, replace(ALONE, guide=Guide(XL, "cheap negative")))
    assert (own - plain).norm() < 0.02 * plain.norm()  # bfloat16, in batches of two sizes


def test_a_chain_of_euler_is_one_loop(studio: Studio) -> None:
    loop = stitched((S, XL), 0.5, steps=4)
    one, two = latents(studio, loop), latents(studio, replace(loop, chained=True))
    assert (two - one).norm() < 0.02 * one.norm()


@pytest.mark.parametrize("lift", ["without gain", "by averages"])
def test_other_ways_up_are_taken_and_left(studio: Studio, lift: str) -> None:
    usual = stitched((HALF, XL), 0.5, steps=4)
    before, other, after = (latents(studio, setting) for setting in (usual, replace(usual, lift=lift), usual))
    assert torch.equal(before, after)
    assert not torch.allclose(before, other, atol=1e-3)
