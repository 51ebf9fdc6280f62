"""A Control-LoRA runs on the layers of the model of its stage, so each stage makes a ControlNet of its own of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tstitch.errors import StitchError
from tstitch_testing.halves import cfg_guider, halves, normal_sigmas, whole
from tstitch_testing.models import conditioning
from tstitch_testing.sampling import stitched
from tstitch_testing.unets import control_lora, unet_model, with_control

latent = torch.zeros(1, 4, 8, 8)


def controlled(control: Any) -> Any:
    return with_control(conditioning(0.4), control)


@pytest.mark.parametrize("memory", ["keep", "swap"])
def test_a_control_lora_is_every_stages(memory: str) -> None:
    models, control = [unet_model(1), unet_model(2)], control_lora(3)
    sigmas = normal_sigmas(models[1], 6)
    guiders = [cfg_guider(model, positive=controlled(control_lora(3))) for model in models]
    expected = halves(guiders, [3], latent, sigmas)
    assert not torch.equal(expected, halves([cfg_guider(model) for model in models], [3], latent, sigmas))
    for _ in range(2):
        guider = cfg_guider(stitched(models, pattern="1x3 2x3", memory=memory), positive=controlled(control))
        assert torch.equal(whole(guider, latent, sigmas), expected)


@pytest.mark.parametrize("share", [True, False], ids=["one_model", "equal_models"])
def test_a_control_lora_of_a_model_stitched_with_itself(share: bool) -> None:
    model, control = unet_model(1), control_lora(3)
    sigmas = normal_sigmas(model, 6)
    stages = [model, model if share else unet_model(1)]

    def run(sampled: Any) -> Tensor:
        return whole(cfg_guider(sampled, positive=controlled(control)), latent, sigmas, sampler="dpmpp_2m")

    assert torch.equal(run(stitched(stages, pattern="1x1 2x1 1x2 2x1 1x1")), run(model))


@pytest.mark.parametrize(
    ("other", "finding"),
    [
        ({"res_blocks": 2}, r"input_blocks\.\d\.0\.\w+ is missing there"),
        ({"width": 64}, r"time_embed\.0 has 256 channels there instead of 128"),
    ],
    ids=["fewer_blocks", "width"],
)
@pytest.mark.parametrize(
    ("misfit", "fitting"), [(0, "final_model"), (1, "model_1")], ids=["misfits_the_first", "misfits_the_last"]
)
def test_a_control_lora_of_another_layout_names_its_stage(
    misfit: int, fitting: str, other: dict[str, int], finding: str
) -> None:
    models = [unet_model(1), unet_model(2)]
    models[misfit] = unet_model(3, **other)
    guider = cfg_guider(stitched(models), positive=controlled(control_lora(3)))
    sigmas = normal_sigmas(models[1], 6)
    with pytest.raises(StitchError, match=rf"does not fit its model \({finding}\): give it to {fitting} only"):
        whole(guider, latent, sigmas)
    splits = "0" if misfit == 0 else "1"  # no step for the misfit, no complaint
    whole(cfg_guider(stitched(models, splits), positive=controlled(control_lora(3))), latent, sigmas)


def test_a_control_lora_that_fits_no_stage_is_to_be_left_out() -> None:
    models = [unet_model(1, res_blocks=2), unet_model(2, res_blocks=2)]
    with pytest.raises(StitchError, match=r"does not fit its model .*: leave it out"):
        whole(cfg_guider(stitched(models), positive=controlled(control_lora(3))), latent, normal_sigmas(models[1], 6))
