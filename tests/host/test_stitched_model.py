"""What the MODEL surface hands on to its stages."""

from __future__ import annotations

from typing import Any

import comfy.latent_formats
import comfy.samplers
import pytest
import torch
from torch import Tensor

from tstitch_testing.models import gaussian_model
from tstitch_testing.sampling import ksample, stitched


@pytest.fixture
def masks_seen(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The prepared mask that each model's conditioning is made with."""
    seen: list[Tensor] = []
    original = comfy.samplers.process_conds

    def process_conds(
        model: Any, noise: Any, conds: Any, device: Any, latent_image: Any, mask: Any, *args: Any, **kw: Any
    ) -> Any:
        seen.append(mask)
        return original(model, noise, conds, device, latent_image, mask, *args, **kw)

    monkeypatch.setattr(comfy.samplers, "process_conds", process_conds)
    return seen


@pytest.mark.parametrize("channels", [4, 16])
def test_every_stage_gets_the_mask_of_each_sample(masks_seen: list[Tensor], channels: int) -> None:
    latent = torch.ones(3, channels, 6, 5)
    mask = torch.rand(3, 1, 12, 10, generator=torch.Generator().manual_seed(0))
    formats = {4: comfy.latent_formats.SD15, 16: comfy.latent_formats.Flux}
    models = [gaussian_model(latent_format=formats[channels]()) for _ in range(2)]
    ksample(stitched(models), latent=latent, noise_mask=mask)
    assert len(masks_seen) == 2
    assert torch.equal(masks_seen[0], masks_seen[1])
    assert not torch.equal(masks_seen[0][0], masks_seen[0][1])
