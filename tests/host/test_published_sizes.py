"""The networks at their real widths have as many parameters as their papers say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

from tstitch.families.dit.network import DiT
from tstitch.families.ldm.network import ClassUNet
from tstitch.families.uvit.network import UViT
from tstitch_testing.checkpoints import dit_config
from tstitch_testing.ldm_files import LDMShape, host_config
from tstitch_testing.uvit_files import uvit_config

F4 = {"channels": 3, "mult": (1, 2, 3, 5), "attended": (False, True, True, True), "one_head": True}


def attention(*_: Any) -> Any:
    raise AssertionError("nothing is computed here")


def dit(depth: int, width: int, heads: int) -> nn.Module:
    return DiT(dit_config(depth=depth, width=width, heads=heads), attention, device="meta")


def uvit(pairs: int, width: int) -> nn.Module:
    return UViT(uvit_config(pairs=pairs, width=width, hidden=4 * width, heads=16), attention, device="meta")


def ldm(**shape: Any) -> nn.Module:
    network = ClassUNet(classes=1000, **host_config(LDMShape(**shape)), device="meta")
    del network.class_embedding
    return network


@pytest.mark.parametrize(
    ("build", "millions"),
    [
        (lambda: dit(12, 384, 6), 33),  # DiT-S, B, L, XL: table 4 of arXiv 2212.09748
        (lambda: dit(12, 768, 12), 130),
        (lambda: dit(24, 1024, 16), 458),
        (lambda: dit(28, 1152, 16), 675),
        (lambda: uvit(10, 1024), 287),  # U-ViT-L, H: table 1 of arXiv 2209.12152
        (lambda: uvit(14, 1152), 501),
        (lambda: ldm(width=64, context=256), 25),  # LDM-S: arXiv 2402.14167
        (lambda: ldm(width=256, context=512), 395),  # LDM-8, LDM-4: arXiv 2112.10752
        (lambda: ldm(width=192, context=512, **F4), 400),
    ],
    ids=["DiT-S", "DiT-B", "DiT-L", "DiT-XL", "U-ViT-L", "U-ViT-H", "LDM-S", "LDM-8", "LDM-4"],
)
def test_parameters_are_as_many_as_published(build: Callable[[], nn.Module], millions: int) -> None:
    found = sum(value.numel() for value in build().state_dict().values()) / 1e6
    assert abs(found - millions) < 1
