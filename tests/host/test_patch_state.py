"""Patches that remember something from step to step: no run depends on the one before, and late stages begin anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tstitch.stitch.guider import StitchedGuider
from tstitch_testing.halves import cfg_guider, normal_sigmas, whole
from tstitch_testing.host import extra_nodes, run_node
from tstitch_testing.models import gaussian_model
from tstitch_testing.sampling import stitch_of, stitched

STEPS = 6
latent = torch.zeros(1, 4, 6, 5)
Wrapper = Callable[[Any, dict[str, Any]], Tensor]


def index_of(args: dict[str, Any]) -> int:
    """The step in the run, as caches look for it."""
    levels = args["c"]["transformer_options"]["sample_sigmas"]
    assert len(levels) == STEPS + 1
    return int((levels == args["timestep"][0]).nonzero()[0])


def teacache(model: Any, seen: list[int]) -> Any:
    """Keeps its state on the network and forgets it at step 0; calls between are mixed with what it remembers."""
    network = model.model.diffusion_model

    def wrapper(apply_model: Any, args: dict[str, Any]) -> Tensor:
        step = index_of(args)
        seen.append(step)
        if step == 0 and hasattr(network, "teacache_state"):
            del network.teacache_state
        answer = apply_model(args["input"], args["timestep"], **args["c"])
        before = getattr(network, "teacache_state", answer)
        network.teacache_state = answer
        return 0.5 * answer + 0.5 * before

    cached = model.clone()
    cached.set_model_unet_function_wrapper(wrapper)
    return cached


def magcache(model: Any, seen: list[int]) -> Any:
    """Makes its state at step 0, and fails without."""
    network = model.model.diffusion_model

    def wrapper(apply_model: Any, args: dict[str, Any]) -> Tensor:
        step = index_of(args)
        seen.append(step)
        if step == 0:
            network.accumulated = torch.zeros(STEPS)
        network.accumulated[step] += 1
        return apply_model(args["input"], args["timestep"], **args["c"]) * (1 - 0.01 * network.accumulated.sum())

    cached = model.clone()
    cached.set_model_unet_function_wrapper(wrapper)
    return cached


def sample(model: Any, steps: int = STEPS, sampler: str = "euler", **options: Any) -> Tensor:
    return whole(cfg_guider(model), latent, normal_sigmas(model, steps), sampler=sampler, **options)


CACHES = [teacache, magcache]
LATE = {"1x3 2x3": [0, 4, 5], "1x2 2x2 1x1 2x1": [0, 3, 5], "1x5 2x1": [0]}


@pytest.mark.parametrize("pattern", LATE)
@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("surface", ["model", "guider"])
def test_a_cache_on_a_late_stage_begins_anew_with_every_run(
    cache: Callable[..., Any], pattern: str, surface: str
) -> None:
    small, large = gaussian_model(0.1, 0.5), gaussian_model(0.4, 0.9)
    seen: list[int] = []
    models = [small, cache(large, seen)]
    if surface == "model":
        guider: Any = cfg_guider(stitched(models, pattern=pattern))
    else:
        guiders = [cfg_guider(model) for model in models]
        guider = StitchedGuider(guiders[1], guiders[:1], stitch_of(2, pattern=pattern))
    first, again = (whole(guider, latent, normal_sigmas(large, STEPS)) for _ in range(2))
    assert torch.equal(first, again)
    assert seen == LATE[pattern] * 2


@pytest.mark.parametrize("cache", CACHES)
def test_a_cache_on_the_model_of_all_stages_goes_on(cache: Callable[..., Any]) -> None:
    model = cache(gaussian_model(), [])
    expected = sample(model)
    for _ in range(2):
        assert torch.equal(sample(stitched([model, model.clone(), model], "0.3, 0.6")), expected)


@pytest.mark.parametrize("cache", CACHES)
def test_of_two_clones_of_one_network_each_has_its_own_cache(cache: Callable[..., Any]) -> None:
    model = gaussian_model()
    seen: list[int] = []
    sample(stitched([model, cache(model, seen)], pattern="1x3 2x3"))
    assert seen == [0, 4, 5]


def test_guidance_functions_see_their_place_in_the_run() -> None:
    """CFGZeroStar answers nothing in the first steps of a run, which those of a late stage are not."""
    steps: list[int] = []

    def zero_init(args: dict[str, Any]) -> Tensor:
        levels = args["model_options"]["transformer_options"]["sample_sigmas"]
        steps.append(int((levels == args["timestep"][0]).nonzero()[0]))
        return args["cond"] * (steps[-1] > 0)

    large = gaussian_model(0.4, 0.9)
    large.set_model_sampler_cfg_function(zero_init)
    sample(stitched([gaussian_model(0.1, 0.5), large], pattern="1x3 2x3"))
    assert steps == [3, 4, 5]


def apg(model: Any) -> Any:
    return run_node(extra_nodes("nodes_apg").APG, model=model, eta=0.5, norm_threshold=0.0, momentum=-0.5)[0]


@pytest.mark.parametrize("surface", ["model", "guider"])
def test_the_momentum_of_an_early_stage_ends_with_its_run(surface: str) -> None:
    """The second run starts below the level at which the stage handed over, so the noise does not rise for it."""

    def joined() -> Any:
        models = [apg(gaussian_model(0.1, 0.5)), gaussian_model(0.4, 0.9)]
        if surface == "model":
            return cfg_guider(stitched(models, "2.0", "sigma"))
        guiders = [cfg_guider(model) for model in models]
        return StitchedGuider(guiders[1], guiders[:1], stitch_of(2, "2.0", "sigma"))

    high, low = torch.tensor([14.0, 9.0, 7.0, 1.0, 0.0]), torch.tensor([6.0, 4.0, 3.0, 1.0, 0.0])
    expected = whole(joined(), latent, low)
    guider = joined()
    whole(guider, latent, high)
    assert torch.equal(whole(guider, latent, low), expected)


def test_what_a_patch_keeps_for_others_is_left_alone() -> None:
    """Only variables that a function sets itself are its state; lists and objects may be anybody's."""
    sigmas: list[float] = []

    def note(args: dict[str, Any]) -> Tensor:
        sigmas.append(float(args["sigma"][0]))
        return args["denoised"]

    model = gaussian_model()
    model.set_model_sampler_post_cfg_function(note)
    joined = stitched([model, model], "0.5")
    sample(joined)
    sample(joined)
    assert len(sigmas) == 2 * STEPS
