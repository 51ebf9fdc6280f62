"""Conditioning that carries more than a prompt: every stage gets it, none disturbs another's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.gligen
import comfy.model_base
import comfy.model_patcher
import pytest
import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import Timestep
from comfy.model_base import ModelType
from torch import Tensor

from tstitch.checks.compatibility import check_pooled_texts, parts_of
from tstitch.errors import StitchError
from tstitch.stitch.guider import StitchedGuider
from tstitch_testing.halves import cfg_guider, halves, normal_sigmas, whole
from tstitch_testing.models import conditioning, hooked
from tstitch_testing.sampling import stitch_of, stitched
from tstitch_testing.unets import CONTEXT_WIDTH, controlnet, randomise, unet_model, with_control

STEPS = 6
latent = torch.zeros(1, 4, 8, 8)


class Orbit(comfy.model_base.SV3D_p):
    """What SV3D reads of the conditioning, without its network."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)
        self.embedder, self.embedder_512 = Timestep(256), Timestep(512)


def test_a_model_that_looks_at_the_noise_is_not_asked_for_pooled_text() -> None:
    guider = cfg_guider(unet_model(1), positive=[[torch.zeros(1, 1, 5), {"elevation": [0.0], "azimuth": [1.0]}]])
    guider.model_patcher.model = Orbit()
    check_pooled_texts(parts_of(["model_1"], [guider]))


def controlled(control: Any, value: float = 0.4) -> Any:
    return with_control(conditioning(value), control)


def gligen() -> Any:
    """A box with a description, read by a model of its own."""
    widths = [32, 64, 64, 64, 64, 32, 32]  # of the blocks of `unet_model`, in the order they run
    modules = [comfy.gligen.GatedSelfAttentionDense(width, CONTEXT_WIDTH, width // 16, 16) for width in widths]
    network = comfy.gligen.Gligen(modules, comfy.gligen.PositionNet(CONTEXT_WIDTH, CONTEXT_WIDTH), CONTEXT_WIDTH)
    randomise(network, seed=5)
    for module in modules:
        module.alpha_attn.fill_(0.7)
    patcher = comfy.model_patcher.ModelPatcher(network, torch.device("cpu"), torch.device("cpu"))
    box = (torch.ones(1, CONTEXT_WIDTH), 4, 4, 2, 2)
    return [[tensor, {**values, "gligen": ("position", patcher, [box])}] for tensor, values in conditioning(0.4)]


def valued(**values: Any) -> Any:
    """Two prompts, one with `values`, as the host's Conditioning (Combine) node joins them."""
    (first,), (second,) = conditioning(0.4), conditioning(0.9)
    return [first, [second[0], {**second[1], **values}]]


CONDITIONINGS: dict[str, Callable[[], Any]] = {
    "area": lambda: valued(area=(4, 4, 2, 2), strength=0.7, set_area_to_bounds=False),
    "mask": lambda: valued(mask=torch.eye(64)[None], mask_strength=0.8, set_area_to_bounds=False),
    "timestep_range": lambda: valued(start_percent=0.2, end_percent=0.7),
    "control": lambda: controlled(controlnet(3)),
    "control_in_a_range": lambda: controlled(controlnet(3).set_cond_hint(HINT, 0.7, (0.2, 0.7))),
    "two_controls": lambda: controlled(controlnet(3).set_previous_controlnet(controlnet(4))),
    "hooks": lambda: hooked(unet_model(1), [(0.0, 1.0)]),
    "hooks_with_keyframes": lambda: hooked(unet_model(1), [(0.0, 0.2), (0.3, 1.0), (0.4, -0.5), (0.8, 0.6)], 0),
    "gligen": gligen,
}
HINT = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(8))


@pytest.mark.parametrize("name", CONDITIONINGS)
def test_conditioning_is_every_stages(name: str) -> None:
    models, positive = [unet_model(1), unet_model(2)], CONDITIONINGS[name]()
    sigmas = normal_sigmas(models[1], STEPS)
    expected = halves([cfg_guider(model, positive=positive) for model in models], [3], latent, sigmas)
    assert not torch.equal(expected, halves([cfg_guider(model) for model in models], [3], latent, sigmas))
    for _ in range(2):
        guider = cfg_guider(stitched(models, pattern="1x3 2x3"), positive=positive)
        assert torch.equal(whole(guider, latent, sigmas), expected)


@pytest.mark.parametrize("name", [*CONDITIONINGS, "hooks_with_guaranteed_steps"])
@pytest.mark.parametrize("pattern", ["1x3 2x3", "1x1 2x1 1x2 2x1 1x1"])
@pytest.mark.parametrize("share", [True, False], ids=["one_model", "equal_models"])
def test_conditioning_of_a_model_stitched_with_itself(name: str, pattern: str, share: bool) -> None:
    guaranteed = [(0.0, 0.2), (0.1, 1.0), (0.2, -0.5), (0.3, 0.6)]
    make = CONDITIONINGS.get(name, lambda: hooked(unet_model(1), guaranteed, 1))
    model, positive = unet_model(1), make()
    sigmas = normal_sigmas(model, STEPS)
    expected = whole(cfg_guider(model, positive=positive), latent, sigmas, sampler="dpmpp_2m")
    stages = [model, model if share else unet_model(1)]
    guider = cfg_guider(stitched(stages, pattern=pattern), positive=positive)
    assert torch.equal(whole(guider, latent, sigmas, sampler="dpmpp_2m"), expected)


@pytest.mark.parametrize("pattern", ["1x3 2x3", "2x3 1x3"])
def test_hooks_are_patched_once_a_turn(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where two stages share their weights, only a change of turn patches them anew."""
    model, conds = unet_model(1), hooked(unet_model(1), [(0.0, 1.0)])
    patched: list[Any] = []
    patch_hooks = comfy.model_patcher.ModelPatcher.patch_hooks
    monkeypatch.setattr(
        comfy.model_patcher.ModelPatcher,
        "patch_hooks",
        lambda self, hooks: patched.append(hooks) or patch_hooks(self, hooks),
    )
    guider = cfg_guider(stitched([model, model], pattern=pattern), positive=conds)
    guider.set_conds(conds, conds)
    whole(guider, latent, normal_sigmas(model, STEPS))
    assert len([hooks for hooks in patched if hooks is not None]) == 2


@pytest.mark.parametrize("memory", ["auto", "swap"])
@pytest.mark.parametrize("shared", ["none", "inner_first", "inner_last", "all"])
@pytest.mark.parametrize("outer", ["1x3 2x3", "1x1 2x2 1x2 2x1"])
def test_hooks_of_two_levels_of_guiders(shared: str, outer: str, memory: str) -> None:
    """A stitched guider as a stage, with another LoRA in the prompts of each level."""
    base = unet_model(1)
    first = base if shared in ("inner_first", "all") else unet_model(2)
    second = base if shared in ("inner_last", "all") else unet_model(3)
    inside, outside = hooked(unet_model(1), [(0.0, 1.0)]), hooked(unet_model(1), [(0.0, -0.7)])
    sigmas = normal_sigmas(base, STEPS)

    def guiders(copies: bool) -> list[Any]:
        """Apart, each on a model of its own that draws the same."""
        models = [first, second, base]
        if copies:
            seeds = [1 if model is base else number for number, model in ((2, first), (3, second), (1, base))]
            models = [unet_model(seed) for seed in seeds]
        prompts = [inside, inside, outside]
        return [cfg_guider(model, positive=prompt) for model, prompt in zip(models, prompts, strict=True)]

    inner = "1x2 2x4"
    flat = {"1x3 2x3": "1x2 2x1 3x3", "1x1 2x2 1x2 2x1": "1x1 3x2 2x2 3x1"}[outer]
    apart = guiders(copies=True)
    expected = whole(StitchedGuider(apart[2], apart[:2], stitch_of(3, pattern=flat)), latent, sigmas)
    one, two, last = guiders(copies=False)
    nested = StitchedGuider(two, [one], stitch_of(2, pattern=inner, memory=memory))
    joined = StitchedGuider(last, [nested], stitch_of(2, pattern=outer, memory=memory))
    for _ in range(2):
        assert torch.equal(whole(joined, latent, sigmas), expected)


@pytest.mark.parametrize("memory", ["keep", "swap"])
def test_one_controlnet_serves_stages_of_different_kinds(memory: str) -> None:
    """The host notes the model's noise schedule on the ControlNet: two stages would overwrite each other's."""
    models = [unet_model(1, kind=ModelType.FLOW), unet_model(2)]
    sigmas = normal_sigmas(models[1], STEPS)

    def run(positives: list[Any]) -> Tensor:
        guiders = [cfg_guider(model, positive=cond) for model, cond in zip(models, positives, strict=True)]
        return whole(StitchedGuider(guiders[1], guiders[:1], stitch_of(2, pattern="1x3 2x3")), latent, sigmas)

    def chain() -> Any:
        return controlnet(3).set_previous_controlnet(controlnet(4))

    expected = run([controlled(chain()), controlled(chain())])
    shared = chain()
    assert torch.equal(run([controlled(shared), controlled(shared)]), expected)
    model = stitched(models, pattern="1x3 2x3", memory=memory)
    assert torch.equal(whole(cfg_guider(model, positive=controlled(shared)), latent, sigmas), expected)
    assert shared.model_sampling_current is None


def test_a_controlnet_on_one_stage_only() -> None:
    models = [unet_model(1), unet_model(2)]
    sigmas = normal_sigmas(models[1], STEPS)
    guiders = [cfg_guider(models[0]), cfg_guider(models[1], positive=controlled(controlnet(3)))]
    guider = StitchedGuider(guiders[1], guiders[:1], stitch_of(2, pattern="1x3 2x3"))
    assert torch.equal(whole(guider, latent, sigmas), halves(guiders, [3], latent, sigmas))


@pytest.mark.parametrize(
    ("misfit", "fitting"), [(0, "final_model"), (1, "model_1")], ids=["misfits_the_first", "misfits_the_last"]
)
def test_a_controlnet_of_another_layout_names_its_stage(misfit: int, fitting: str) -> None:
    """As one for SD 1.5 meets BK-SDM, or one for SDXL meets KOALA: the host would warn and add what happens to fit."""
    models = [unet_model(1), unet_model(2)]
    models[misfit] = unet_model(3, res_blocks=2)
    guider = cfg_guider(stitched(models), positive=controlled(controlnet(3)))
    with pytest.raises(StitchError, match=f"(model_1|final_model) does not fit.*give it to {fitting} only"):
        whole(guider, latent, normal_sigmas(models[1], STEPS))
    splits = "0" if misfit == 0 else "1"  # no step for the misfit, no complaint
    guider = cfg_guider(stitched(models, splits), positive=controlled(controlnet(3)))
    whole(guider, latent, normal_sigmas(models[1], STEPS))
