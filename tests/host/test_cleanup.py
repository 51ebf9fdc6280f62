"""However a run ends, nothing stays behind; and it looks like one run from outside."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import comfy.k_diffusion.sampling
import comfy.sample
import comfy.samplers
import pytest
import torch
from comfy.model_base import ModelType
from comfy.model_management import InterruptProcessingException
from comfy.patcher_extension import PatcherInjection
from torch import Tensor

from tstitch.stitch.guider import StitchedGuider
from tstitch_testing.models import calls_of, conditioning, gaussian_model
from tstitch_testing.reference import sigmas_of
from tstitch_testing.sampling import ksample, stitch_of, stitched
from tstitch_testing.unets import randomise, unet_model

STEPS = 5
MEMORY = ("auto", "keep", "swap")

pytestmark = pytest.mark.filterwarnings("ignore")


def pair(kind: ModelType = ModelType.EPS) -> tuple[Any, Any]:
    return gaussian_model(0.1, 0.5), gaussian_model(0.6, 0.9, kind)


def by_model(models: tuple[Any, Any], sampler: str, memory: str = "auto", **options: Any) -> Tensor:
    return ksample(stitched(models, memory=memory), sampler, steps=STEPS, **options)


def guiders_of(models: tuple[Any, Any]) -> list[Any]:
    guiders = []
    for model in models:
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(conditioning(0.4), conditioning(-0.2))
        guider.set_cfg(3.0)
        guiders.append(guider)
    return guiders


def sample_guiders(guiders: list[Any], sampler: str, memory: str = "auto", **options: Any) -> Tensor:
    latent = torch.zeros(2, 4, 6, 5)
    return StitchedGuider(guiders[-1], guiders[:-1], stitch_of(len(guiders), memory=memory)).sample(
        comfy.sample.prepare_noise(latent, 1),
        latent,
        comfy.samplers.sampler_object(sampler),
        sigmas_of(guiders[-1].model_patcher, sampler, steps=STEPS),
        disable_pbar=True,
        seed=1,
        **options,
    )


def by_guiders(models: tuple[Any, Any], sampler: str, memory: str = "auto", **options: Any) -> Tensor:
    return sample_guiders(guiders_of(models), sampler, memory, **options)


SURFACES = pytest.mark.parametrize("surface", [by_model, by_guiders], ids=["MODEL", "GUIDER"])


def interrupt_at(step: int) -> Callable[..., None]:
    def callback(found: int, *_: Any) -> None:
        if found == step:
            raise InterruptProcessingException

    return callback


class ModelError(Exception):
    pass


def fail(*_: Any, **__: Any) -> Any:
    raise ModelError


def assert_released(references: list[weakref.ref[Any]]) -> None:
    gc.collect()
    assert [reference() for reference in references] == [None] * len(references)
    assert not [item for item in gc.get_objects() if isinstance(item, (comfy.samplers.CFGGuider, StitchedGuider))]


@pytest.fixture(scope="module", autouse=True)
def what_was_there_before() -> Iterator[None]:
    """Taken out of the collector's sight: counting is exact, and fast."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@SURFACES
@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "dpmpp_2m_sde", "heun", "uni_pc"])
def test_an_interrupt_at_any_step_leaves_nothing(surface: Callable[..., Tensor], memory: str, sampler: str) -> None:
    for kind in (ModelType.EPS, ModelType.FLOW):
        for step in range(STEPS):
            models = pair(kind)
            with pytest.raises(InterruptProcessingException):
                surface(models, sampler, memory, callback=interrupt_at(step))
            assert [model.model.current_patcher for model in models] == [None, None]
            references = [weakref.ref(item) for model in models for item in (model, model.model)]
            del models
            assert_released(references)


@SURFACES
@pytest.mark.parametrize("memory", MEMORY)
def test_after_an_interrupt_the_models_are_as_before(surface: Callable[..., Tensor], memory: str) -> None:
    models = pair()
    small, large = models
    fresh = [ksample(model, "dpmpp_2m_sde", steps=STEPS) for model in pair()], surface(pair(), "dpmpp_2m_sde", memory)
    options = [copy.deepcopy(model.model_options) for model in models]
    for step in range(STEPS):
        with pytest.raises(InterruptProcessingException):
            surface(models, "dpmpp_2m_sde", memory, callback=interrupt_at(step))
        assert torch.equal(ksample(small, "dpmpp_2m_sde", steps=STEPS), fresh[0][0])
        assert torch.equal(ksample(large, "dpmpp_2m_sde", steps=STEPS), fresh[0][1])
        assert torch.equal(surface(models, "dpmpp_2m_sde", memory), fresh[1])
    assert [model.model_options for model in models] == options
    assert not any(model.wrappers or model.callbacks for model in models)


@SURFACES
def test_an_interrupt_takes_effect_within_its_step(surface: Callable[..., Tensor]) -> None:
    for step in range(STEPS):
        stock, models = gaussian_model(), (gaussian_model(), gaussian_model())
        with pytest.raises(InterruptProcessingException):
            ksample(stock, "heun", steps=STEPS, callback=interrupt_at(step))
        with pytest.raises(InterruptProcessingException):
            surface(models, "heun", callback=interrupt_at(step))
        assert calls_of(models[0]) + calls_of(models[1]) == calls_of(stock)


@SURFACES
@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize("index", [0, 1], ids=["small", "large"])
@pytest.mark.parametrize("what", ["forward", "extra_conds", "memory_required"])
def test_a_failure_anywhere_leaves_nothing(
    surface: Callable[..., Tensor], memory: str, index: int, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a model's call; in its set-up, where the other one may be ready already; in the host's loading."""
    models = pair()
    expected = surface(pair(), "dpmpp_2m", memory)
    owner = models[index].model.diffusion_model if what == "forward" else models[index].model
    with monkeypatch.context() as patch:
        patch.setattr(owner, what, fail)
        with pytest.raises(ModelError):
            surface(models, "dpmpp_2m", memory)
    assert [model.model.current_patcher for model in models] == [None, None]
    assert torch.equal(surface(models, "dpmpp_2m", memory), expected)
    assert torch.equal(ksample(models[index], steps=STEPS), ksample(pair()[index], steps=STEPS))
    references = [weakref.ref(item) for model in models for item in (model, model.model)]
    del models, owner
    assert_released(references)


@pytest.mark.parametrize("step", [None, 0, 2, 4])
def test_guiders_of_the_graph_stay_as_they_are(step: int | None) -> None:
    """The host keeps them for the next queue."""
    guiders = guiders_of(pair())
    before = [{**vars(guider), "model_options": copy.deepcopy(guider.model_options)} for guider in guiders]
    if step is None:
        sample_guiders(guiders, "euler")
    else:
        with pytest.raises(InterruptProcessingException):
            sample_guiders(guiders, "euler", callback=interrupt_at(step))
    assert [vars(guider) for guider in guiders] == before


@SURFACES
@pytest.mark.parametrize("sampler", comfy.samplers.SAMPLER_NAMES)
def test_the_progress_is_that_of_one_run(surface: Callable[..., Tensor], sampler: str) -> None:
    """Steps, totals and previews as the stock sampler reports them."""
    told: list[list[Any]] = [[], []]
    models = gaussian_model(), gaussian_model()
    ksample(gaussian_model(), sampler, steps=STEPS, callback=lambda *event: told[0].append(event))
    surface(models, sampler, callback=lambda *event: told[1].append(event))
    assert len(told[0]) == len(told[1])
    for expected, found in zip(*told, strict=True):
        assert (found[0], found[3]) == (expected[0], expected[3])
        assert torch.equal(found[1], expected[1])
        assert torch.equal(found[2], expected[2])
    if sampler not in ("dpm_fast", "dpm_adaptive"):
        assert sorted({event[0] for event in told[1]}) == list(range(STEPS))
    assert all(calls_of(model) for model in models)


@SURFACES
def test_there_is_one_progress_bar(surface: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    bars = []

    def trange(*args: Any, **kwargs: Any) -> Any:
        bars.append(args)
        return range(*args)

    monkeypatch.setattr(comfy.k_diffusion.sampling, "trange", trange)
    surface(pair(), "dpmpp_2m")
    assert bars == [(STEPS,)]


def census() -> tuple[int, int]:
    """Living tensors and objects, less what an old host notes at each loading and forgets with the model."""
    for finalizer in list(weakref.finalize._registry):
        if finalizer.peek()[1].__module__ == "comfy.model_management":
            finalizer.detach()
    gc.collect()
    objects = gc.get_objects()
    return sum(type(item) is Tensor for item in objects), len(objects)


@pytest.mark.parametrize("ending", ["done", "interrupted"])
def test_200_runs_leave_no_more_than_one(ending: str) -> None:
    models = pair(ModelType.FLOW)
    guiders = guiders_of(models)
    callback = interrupt_at(3) if ending == "interrupted" else None

    def run(number: int) -> None:
        for recorded in models:
            del calls_of(recorded)[:], recorded.model.diffusion_model.inputs[:]
            del recorded.model.diffusion_model.sample_sigmas[:]
        memory = MEMORY[number % 3]
        try:
            if number % 2:
                by_model(models, "euler", memory, callback=callback)
            else:
                sample_guiders(guiders, "dpmpp_2m", memory, callback=callback)
        except InterruptProcessingException:
            assert ending == "interrupted"

    for number in range(12):
        run(number)
    tensors, objects = census()
    for number in range(204):
        run(number)
    found_tensors, found_objects = census()
    assert found_tensors <= tensors
    assert found_objects <= objects + 20, "of 204 runs, not one in ten may leave an object"


def test_one_model_sampled_100_times_leaves_what_a_stock_clone_leaves() -> None:
    """The host remembers each loading of a clone as long as the clone lives."""
    models = pair()
    growth = []
    for model in (models[1].clone(), stitched(models)):
        counts = []
        for number in range(101):
            ksample(model, steps=2)
            for recorded in models:
                del calls_of(recorded)[:], recorded.model.diffusion_model.inputs[:]
                del recorded.model.diffusion_model.sample_sigmas[:]
            if number % 100 == 0:
                counts.append(census())
        growth.append((counts[1][0] - counts[0][0], counts[1][1] - counts[0][1]))
    assert growth[1][0] <= growth[0][0]
    assert growth[1][1] <= growth[0][1] + 10


# --- A cancelled run leaves no patch in the network -------------------------------------------------------------------


def with_injection(model: Any) -> Any:
    """As AnimateDiff and IPAdapter change a network: a layer more while the model is in use."""
    changed, layer = model.clone(), torch.nn.Conv2d(64, 64, 1)
    randomise(layer, 5)

    def inject(patcher: Any) -> None:
        patcher.model.diffusion_model.middle_block.append(layer)

    def eject(patcher: Any) -> None:
        block = patcher.model.diffusion_model.middle_block
        assert block[-1] is layer
        del block[-1]

    changed.set_injections("test", [PatcherInjection(inject=inject, eject=eject)])
    return changed


def with_object(model: Any) -> Any:
    changed = model.clone()
    sampling = copy.deepcopy(model.get_model_object("model_sampling"))
    sampling.set_sigmas(sampling.sigmas * 0.9)
    changed.add_object_patch("model_sampling", sampling)
    return changed


def with_weights(model: Any) -> Any:
    changed = model.clone()
    key = "diffusion_model.out.2.weight"
    changed.add_patches({key: (torch.ones_like(changed.model.state_dict()[key]),)}, 0.1)
    return changed


VARIANTS = {"injection": with_injection, "object": with_object, "weights": with_weights}
PLACES = {
    "variants, changed last": lambda plain, changed, other: [plain, changed],
    "variants, changed first": lambda plain, changed, other: [changed, plain],
    "pair, changed last": lambda plain, changed, other: [other, changed],
    "pair, changed first": lambda plain, changed, other: [changed, other],
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", VARIANTS)
@pytest.mark.parametrize("memory", MEMORY)
def test_a_stopped_run_leaves_no_patch_in_the_network(memory: str, kind: str, place: str) -> None:
    plain, other = unet_model(), unet_model(seed=3)
    before = ksample(plain, steps=4)
    joined = stitched(PLACES[place](plain, VARIANTS[kind](plain), other), pattern="1x2 2x2", memory=memory)
    for step in range(4):
        with pytest.raises(InterruptProcessingException):
            ksample(joined, steps=4, callback=interrupt_at(step))
        assert torch.equal(ksample(plain, steps=4), before)


@pytest.mark.parametrize("kind", VARIANTS)
@pytest.mark.parametrize("memory", MEMORY)
def test_a_failed_call_leaves_no_patch_in_the_network(memory: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = unet_model()
    before = ksample(plain, steps=4)
    joined = stitched([plain, VARIANTS[kind](plain)], pattern="1x2 2x2", memory=memory)
    network, forward = plain.model.diffusion_model, plain.model.diffusion_model.forward
    for failing in range(4):
        calls = iter(range(100))

        def once(*args: Any, failing: int = failing, calls: Iterator[int] = calls, **kwargs: Any) -> Tensor:
            return fail() if next(calls) == failing else forward(*args, **kwargs)

        with monkeypatch.context() as patched:
            patched.setattr(network, "forward", once)
            with pytest.raises(ModelError):
                ksample(joined, steps=4)
        assert torch.equal(ksample(plain, steps=4), before)
