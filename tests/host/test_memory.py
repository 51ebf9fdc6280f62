"""Which weights are on the device when, on a device whose size the test sets; the host keeps the books."""

from __future__ import annotations

import functools
import gc
import os
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import comfy.conds
import comfy.model_base
import comfy.model_management as mm
import comfy.model_patcher
import pytest
import torch
from comfy.model_base import ModelType
from torch import Tensor, nn

from benchmarks.measure.memory import measure
from tstitch.host.memory import fits_together, unload_model
from tstitch.stitch.model import ModelStage, stitched_for_one_run
from tstitch_testing import peak_memory
from tstitch_testing.device import Device
from tstitch_testing.halves import cfg_guider, normal_sigmas, whole
from tstitch_testing.host import extra_nodes, run_node
from tstitch_testing.models import GaussianDenoiser, conditioning
from tstitch_testing.sampling import ksample, stitch_of, stitched
from tstitch_testing.unets import unet_model

BLOCK = 64 * 64 * 4  # bytes
SMALL, LARGE = 8, 24  # blocks
LATENT_SHAPE = (1, 4, 8, 8)
NO_CONDS: list[dict[str, Any]] = [{}, {}]


class Ballasted(GaussianDenoiser):
    """The analytic denoiser with weights that take room and do nothing; it notes what lies on the device when."""

    def __init__(self, *args: Any, blocks: int, operations: Any, device: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        del self.weight
        self.ballast = nn.ModuleList(
            operations.Linear(64, 64, bias=False, dtype=torch.float32, device=device) for _ in range(blocks)
        )
        self.watch: Any = lambda: None

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        self.watch()
        return super().forward(*args, **kwargs)


class BallastDevice(Device):
    def model(self, name: str, blocks: int, mean: float = 0.3, std: float = 0.7) -> Any:
        return super().model(name, Ballasted, blocks, mean, std)

    def pair(self) -> tuple[Any, Any]:
        return self.model("small", SMALL, 0.1, 0.5), self.model("large", LARGE, 0.4, 0.9)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[BallastDevice]:
    device = BallastDevice(BLOCK, AMPLE)
    device.take_over(monkeypatch.setattr)
    gc.collect()  # a model that dies while the host unloads others confuses its list
    mm.unload_all_models()
    yield device
    mm.unload_all_models()


PATTERN = "1x2 2x2 1x2 2x2"
AMPLE = 1000 * BLOCK
SCARCE = (LARGE + 6) * BLOCK  # the large model and room to work in, but not the small one beside it


def sample(model: Any, **options: Any) -> Tensor:
    return ksample(model, "dpmpp_2m", **options)


def expected(device: BallastDevice, pattern: str = PATTERN) -> Tensor:
    """The same run on models that are nobody's burden."""
    models = device.pair()
    result = sample(stitched(models, pattern=pattern, memory="keep"))
    mm.unload_all_models()
    device.loads.clear()
    device.seen.clear()
    device.peak = 0
    return result


def test_auto_loads_each_model_once_where_all_fit(device: BallastDevice) -> None:
    result, models = expected(device), device.pair()
    assert torch.equal(sample(stitched(models, pattern=PATTERN)), result)
    assert sorted(device.loads) == ["large", "small"]
    assert all(blocks == {"small": SMALL, "large": LARGE} for _, blocks in device.seen)


def test_auto_never_holds_both_where_they_do_not_fit(device: BallastDevice) -> None:
    result, models = expected(device), device.pair()
    device.limit = SCARCE
    assert torch.equal(sample(stitched(models, pattern=PATTERN)), result)
    assert device.loads == ["small", "large", "small", "large"]
    for name, blocks in device.seen:
        assert blocks[name] == {"small": SMALL, "large": LARGE}[name], "the stage that runs is there as a whole"
        assert sum(blocks.values()) <= SCARCE // BLOCK
        assert blocks != {"small": SMALL, "large": LARGE}


def test_swap_holds_one_model_however_much_room_there_is(device: BallastDevice) -> None:
    result, models = expected(device), device.pair()
    device.limit = AMPLE
    assert torch.equal(sample(stitched(models, pattern=PATTERN, memory="swap")), result)
    assert device.loads == ["small", "large", "small", "large"]
    for name, blocks in device.seen:
        assert blocks == {"small": 0, "large": 0} | {name: {"small": SMALL, "large": LARGE}[name]}
    assert device.peak == LARGE * BLOCK  # the larger model alone: 1.0 times


def test_swap_leaves_other_peoples_models_alone(device: BallastDevice) -> None:
    models, other = device.pair(), device.model("other", 3)
    mm.load_models_gpu([other])
    sample(stitched(models, pattern=PATTERN, memory="swap"))
    assert all(blocks["other"] == 3 for _, blocks in device.seen)
    assert device.loads.count("other") == 1


def test_auto_counts_what_the_conditioning_brings_along(device: BallastDevice) -> None:
    """Such as a ControlNet: beside it the two models do not fit, without it they would."""
    models, brought = device.pair(), device.model("brought", 8)
    device.limit = 40 * BLOCK
    assert fits_together(models, NO_CONDS, LATENT_SHAPE)
    for conds in ({"additional_models": [brought]}, {}), ({}, {"additional_models": [brought]}):
        assert not fits_together(models, [{"positive": [cond]} for cond in conds], LATENT_SHAPE)
    positive = [[conditioning(0.4)[0][0], {"additional_models": [brought]}]]
    sample(stitched(models, pattern=PATTERN), positive=positive)
    assert [name for name in device.loads if name != "brought"] == ["small", "large"] * 2


def test_auto_counts_the_images_in_the_conditioning(device: BallastDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reference images take as much working memory as the host says."""
    models = device.pair()
    device.limit = 40 * BLOCK

    def memory_required(model: Any, input_shape: Any, cond_shapes: Any = None) -> int:
        return (2 + 4 * len((cond_shapes or {}).get("reference", ()))) * BLOCK

    monkeypatch.setattr(comfy.model_base.BaseModel, "memory_required", memory_required)
    extra_conds_shapes = {"reference": [1, 4, 8, 8]}
    monkeypatch.setattr(comfy.model_base.BaseModel, "extra_conds_shapes", lambda *_, **__: extra_conds_shapes)
    conds = [{"positive": [{}]}, {"positive": []}]
    assert fits_together(models, NO_CONDS, LATENT_SHAPE)
    assert not fits_together(models, conds, LATENT_SHAPE)
    assert not fits_together(models, conds[::-1], LATENT_SHAPE)


@pytest.mark.parametrize("where", ["each model", "the joined MODEL"])
def test_auto_counts_the_frames_of_one_context_window(
    device: BallastDevice, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """161 frames in windows of 17 are 41 and 5 latent frames: the host loads a model for 5."""
    shape, asked = (1, 4, 41, 8, 8), []
    windows = extra_nodes("nodes_context_windows")
    node = functools.partial(run_node, windows.WanContextWindowsManualNode, context_length=17, context_overlap=1)
    settings = {"context_schedule": "standard_static", "context_stride": 1, "closed_loop": False}
    settings["fuse_method"] = "pyramid"
    if "freenoise" in {item.id for item in windows.WanContextWindowsManualNode.define_schema().inputs}:
        settings["freenoise"] = False

    def memory_required(model: Any, input_shape: Any, cond_shapes: Any = None) -> int:
        asked.append(input_shape[2])
        return 0

    monkeypatch.setattr(comfy.model_base.BaseModel, "memory_required", memory_required)
    models = device.pair()
    if where == "each model":
        models = [node(model=model, **settings)[0] for model in models]
        assert fits_together(models, NO_CONDS, shape)
        assert set(asked) == {5}
        asked.clear()
    joined = stitched(models, "0.5", memory="swap")
    if where != "each model":
        joined = node(model=joined, **settings)[0]
    sigmas = normal_sigmas(joined, 2)
    whole(cfg_guider(joined), torch.zeros(shape), sigmas)
    assert set(asked) == {5}


@pytest.mark.parametrize("order", [1, -1])
def test_each_device_has_room_for_its_own_models(device: BallastDevice, order: int) -> None:
    """A second GPU has room of its own."""
    models = small, _ = device.pair()
    device.limit = SCARCE
    assert not fits_together(models[::order], NO_CONDS, LATENT_SHAPE)
    small.load_device = torch.device("cpu")
    assert fits_together(models[::order], NO_CONDS, LATENT_SHAPE)


def test_keep_loads_all_before_the_first_step(device: BallastDevice) -> None:
    result, models = expected(device), device.pair()
    assert torch.equal(sample(stitched(models, pattern=PATTERN, memory="keep")), result)
    assert sorted(device.loads) == ["large", "small"]
    assert device.seen[0][1] == {"small": SMALL, "large": LARGE}


def test_keep_without_enough_room_loads_again_what_the_host_evicts(device: BallastDevice) -> None:
    result, models = expected(device), device.pair()
    device.limit = SCARCE
    assert torch.equal(sample(stitched(models, pattern=PATTERN, memory="keep")), result)
    assert all(blocks[name] == {"small": SMALL, "large": LARGE}[name] for name, blocks in device.seen)


@pytest.mark.parametrize("memory", ["auto", "keep", "swap"])
def test_a_model_evicted_amid_a_run_is_loaded_again(device: BallastDevice, memory: str) -> None:
    """Another pack may make room in a callback."""
    result, models = expected(device), device.pair()

    def evict(step: int, *_: Any) -> None:
        if step == 4:
            mm.unload_all_models()

    assert torch.equal(sample(stitched(models, pattern=PATTERN, memory=memory), callback=evict), result)
    assert all(blocks[name] == {"small": SMALL, "large": LARGE}[name] for name, blocks in device.seen)


@pytest.mark.parametrize("memory", ["auto", "keep", "swap"])
@pytest.mark.parametrize(
    ("splits", "used"),
    [
        pytest.param("0, 0", ["last"], id="last_only"),
        pytest.param("1, 1", ["first"], id="first_only"),
        pytest.param("0, 1", ["middle"], id="middle_only"),
        pytest.param("0.5, 0.5", ["first", "last"], id="all_but_the_middle"),
        pytest.param("0.5, 1", ["first", "middle"], id="all_but_the_last"),
    ],
)
def test_a_stage_without_steps_is_never_loaded(
    device: BallastDevice, memory: str, splits: str, used: list[str]
) -> None:
    models = [device.model(name, SMALL) for name in ("first", "middle", "last")]
    sample(stitched(models, splits, memory=memory))
    assert set(device.loads) == set(used)
    assert set(used) == {name for name, _ in device.seen}


@pytest.mark.parametrize("memory", ["auto", "swap"])
@pytest.mark.parametrize("inner_memory", ["auto", "keep", "swap"])
@pytest.mark.parametrize("pattern", ["1x1 2x2 1x1 2x2 1x2", "1x8", "2x8"])
def test_a_nested_stage_has_its_weights_when_it_is_asked(
    device: BallastDevice, memory: str, inner_memory: str, pattern: str
) -> None:
    models = [device.model("a", 8, 0.1, 0.5), device.model("b", 12, 0.4, 0.9), device.model("c", 24, 0.2, 0.6)]

    def nested() -> Any:
        inner = stitched(models[:2], pattern=pattern, memory=inner_memory)
        return stitched([inner, models[2]], pattern=PATTERN, memory=memory)

    result = sample(nested())
    for limit in (AMPLE, SCARCE):
        mm.unload_all_models()
        device.seen.clear()
        device.limit = limit
        assert torch.equal(sample(nested()), result)
        assert {name for name, _ in device.seen} == {"c"} | {"ab"[int(part[0]) - 1] for part in pattern.split()}
        assert all(blocks[name] == {"a": 8, "b": 12, "c": 24}[name] for name, blocks in device.seen)


def test_outer_swap_unloads_all_of_a_nested_stage(device: BallastDevice) -> None:
    models = [device.model("a", 8), device.model("b", 12), device.model("c", 24)]
    inner = stitched(models[:2], pattern="1x1 2x7", memory="keep")
    sample(stitched([inner, models[2]], pattern="1x4 2x4", memory="swap"))
    assert all(blocks == {"a": 0, "b": 0, "c": 24} for name, blocks in device.seen if name == "c")


def test_clones_of_one_model_are_not_moved(device: BallastDevice) -> None:
    model = device.model("only", LARGE)
    sample(stitched([model.clone(), model], pattern=PATTERN, memory="swap"))
    assert device.loads == ["only"]


class StopError(Exception):
    """Raised by the tests amid a run."""


@pytest.mark.parametrize("memory", ["auto", "keep", "swap"])
@pytest.mark.parametrize("step", [0, 1, 2, 5])
def test_everything_is_released_when_sampling_raises(device: BallastDevice, memory: str, step: int) -> None:
    result, models = expected(device), device.pair()

    def raise_at(at: int, *_: Any) -> None:
        if at == step:
            raise StopError

    model = stitched(models, pattern=PATTERN, memory=memory)
    with pytest.raises(StopError):
        sample(model, callback=raise_at)
    left = weakref.ref(model)
    del model
    gc.collect()  # the exception and its frames refer to each other
    assert left() is None, "something still refers to the MODEL of the failed run"
    assert not any(patcher.model.current_patcher for patcher in models)
    assert torch.equal(sample(stitched(models, pattern=PATTERN, memory=memory)), result)
    weights = [weakref.ref(patcher.model) for patcher in models]
    del models
    gc.collect()
    assert [weight() for weight in weights] == [None, None]


@pytest.mark.parametrize("memory", ["auto", "keep", "swap"])
def test_a_run_leaves_no_cycles(device: BallastDevice, memory: str) -> None:
    """Weights go when the last reference does, not at some later garbage collection."""
    models = device.pair()
    gc.collect()
    gc.disable()
    try:
        model = stitched(models, pattern=PATTERN, memory=memory)
        sample(model)
        weights = [weakref.ref(patcher.model) for patcher in models]
        del models, model
        device.seen.clear()
        assert [weight() for weight in weights] == [None, None]
    finally:
        gc.enable()


def flow(model: Any) -> Any:
    """A model that predicts noise, and that a node makes a flow, as fine-tunes of SDXL are used."""
    return run_node(extra_nodes("nodes_model_advanced").ModelSamplingSD3, model=model, shift=3.0)[0]


@pytest.mark.parametrize("pattern", ["2x3 1x3", "2x2 1x2 2x2"])
@pytest.mark.parametrize("sampler", ["lcm", "euler"])
def test_the_patches_of_an_evicted_finishing_model_stay_for_the_sampler(pattern: str, sampler: str) -> None:
    """Between the calls it adds noise and keeps what is masked by that model's sampling, whoever's turn it is."""
    bases = unet_model(1), unet_model(2)
    small, large = map(flow, bases)
    latent, mask = torch.linspace(-1, 1, 256).reshape(1, 4, 8, 8), torch.zeros(1, 1, 8, 8)
    mask[..., :4] = 1

    def run(memory: str) -> Tensor:
        model = stitched([small, large], pattern=pattern, memory=memory)
        return whole(cfg_guider(model), latent, normal_sigmas(large, 6), sampler=sampler, denoise_mask=mask)

    before = [ksample(base, "euler", latent=latent) for base in bases]
    assert torch.equal(run("swap"), run("keep"))
    assert all(
        torch.equal(ksample(base, "euler", latent=latent), stock) for base, stock in zip(bases, before, strict=True)
    )


READERS = ("preprocess_text_embeds", "preprocess_prefix")


def reading_model(seed: int, reader: str = READERS[0]) -> Any:
    """As Anima, LTX-2 and SenseNova: a part of the network reads the text once, when the conditioning is prepared."""
    patcher = unet_model(seed)
    network, extra_conds = patcher.model.diffusion_model, patcher.model.extra_conds
    network.reader = nn.Linear(5, 5, bias=False)
    network.reader.weight = nn.Parameter(torch.eye(5), requires_grad=False)
    network.__class__ = type("Reading", (type(network),), {reader: lambda self, text: self.reader(text)})

    def read(**values: Any) -> dict[str, Any]:
        assert patcher.model.model_loaded_weight_memory > 0  # else on a GPU: weights and text on two devices
        text = getattr(network, reader)(values["cross_attn"])
        return {**extra_conds(**values), "c_crossattn": comfy.conds.CONDCrossAttn(text)}

    patcher.model.extra_conds = read
    return patcher


def with_lora_on_the_reader(model: Any) -> Any:
    patched = model.clone()
    assert patched.add_patches({"diffusion_model.reader.weight": ("diff", (torch.eye(5),))})
    return patched


@pytest.mark.parametrize("memory", ["auto", "swap"])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("reader", READERS)
def test_text_is_read_by_loaded_weights(memory: str, shared: bool, reader: str) -> None:
    def run(memory: str, shared: bool) -> Tensor:
        mm.unload_all_models()
        base = reading_model(1, reader)
        pair = [with_lora_on_the_reader(base), base if shared else reading_model(1, reader)]
        model = stitched(pair, pattern="1x3 2x3", memory=memory)
        return whole(cfg_guider(model), torch.zeros(1, 4, 8, 8), normal_sigmas(base, 6))

    assert torch.equal(run(memory, shared), run("keep", False))


def timed(value: float, start: float, end: float) -> list[Any]:
    return [[text, {**extra, "start_percent": start, "end_percent": end}] for text, extra in conditioning(value)]


@pytest.mark.parametrize("memory", ["keep", "swap"])
def test_what_another_queue_left_on_a_model_does_not_count(memory: str) -> None:
    """Its sampling decides when each prompt begins and ends, which is asked before a deferred model is loaded."""
    flows = [unet_model(seed, kind=ModelType.FLOW) for seed in (1, 2)]
    prompts = timed(0.4, 0, 0.5) + timed(-3.0, 0.5, 1)
    latent = torch.zeros(1, 4, 8, 8)

    def run() -> Tensor:
        return ksample(stitched(flows, pattern="1x2 2x4", memory=memory), steps=6, latent=latent, positive=prompts)

    clean = run()
    mm.unload_all_models()
    node = extra_nodes("nodes_model_advanced").ModelSamplingSD3
    ksample(run_node(node, model=flows[1], shift=12.0)[0], steps=2, latent=latent)
    assert torch.equal(run(), clean)


@pytest.mark.parametrize("need", [10, 20, 30])
@pytest.mark.parametrize("pattern", ["1x4 2x4", PATTERN])
def test_a_vae_that_is_needed_amid_a_step_gives_the_room_back(device: BallastDevice, pattern: str, need: int) -> None:
    """As where a ControlNet encodes its hint: the host loads the VAE, and then again what was in use."""
    device.limit = 40 * BLOCK
    (small, large), vae = device.pair(), device.model("vae", 1)
    there: dict[str, list[int]] = {"small": [], "large": []}

    def encode() -> None:
        if not there["small"]:
            used = mm.loaded_models(only_currently_used=True)
            mm.load_models_gpu([vae], memory_required=need * BLOCK)
            mm.load_models_gpu(used)
        there["small"].append(device.resident()["small"])

    small.model.diffusion_model.watch = encode
    large.model.diffusion_model.watch = lambda: there["large"].append(device.resident()["large"])
    sample(stitched([small, large], pattern=pattern))
    assert there == {"small": [SMALL] * 4, "large": [LARGE] * 4}


def test_auto_swaps_where_the_host_keeps_one_model_only(device: BallastDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    result, models = expected(device, "1x4 2x4"), device.pair()
    monkeypatch.setattr(mm, "DISABLE_SMART_MEMORY", True)
    assert torch.equal(sample(stitched(models, pattern="1x4 2x4")), result)
    assert device.loads == ["small", "large"]
    assert fits_together([models[0], models[0].clone()], NO_CONDS, LATENT_SHAPE)


class Patch:
    """Brings a model of its own, as the host's for a DiffSynth ControlNet, and notes which one it is called with."""

    def __init__(self, patcher: Any, note: Any) -> None:
        self._patcher, self._note = patcher, note

    def __call__(self, hidden: Tensor, *_: Any) -> Tensor:
        self._note(self._patcher.model)
        return hidden

    def to(self, _: Any) -> Patch:
        return self

    def models(self) -> list[Any]:
        return [self._patcher]


def test_the_models_of_patches_are_not_copied() -> None:
    network, cpu, called = nn.Linear(3, 3), torch.device("cpu"), []
    patch = Patch(comfy.model_patcher.ModelPatcher(network, load_device=cpu, offload_device=cpu), called.append)
    small, large = unet_model(1), unet_model(2)
    large.model_options["transformer_options"]["patches"] = {"input_block_patch": [patch]}
    options = large.model_options
    model = stitched([small, large], pattern="1x1 2x1")
    assert large.model_options is options
    after = model.clone().clone()  # as patch nodes after the join do
    assert after.model_options["transformer_options"]["patches"] == {"input_block_patch": [patch]}
    assert after.model_options["transformer_options"] is not model.model_options["transformer_options"]
    for each in (model, after):
        ksample(each, steps=2, latent=torch.zeros(1, 4, 8, 8))
    assert called
    assert all(one is network for one in called)
    model.set_model_input_block_patch(patch)
    assert options["transformer_options"]["patches"] == {"input_block_patch": [patch]}


@pytest.mark.skipif(not hasattr(mm, "pin_memory"), reason="this host pins nothing")
def test_a_run_leaves_the_weights_pinned(device: BallastDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a model that is on the device in part only: unpinned, the rest would go there more slowly from then on."""
    pinned: set[int] = set()
    monkeypatch.setattr(mm, "pin_memory", lambda tensor: not pinned.add(tensor.data_ptr()))
    monkeypatch.setattr(mm, "unpin_memory", lambda tensor: not pinned.discard(tensor.data_ptr()))
    device.limit = 20 * BLOCK
    small, large = device.pair()
    counts: list[int] = []
    large.model.diffusion_model.watch = lambda: counts.append(len(pinned))
    for _ in range(3):
        with stitched_for_one_run(large, [ModelStage(small)], stitch_of(2, pattern="1x4 2x4")) as model:
            sample(model)
        del model
        gc.collect()
    assert counts[0] > 0
    assert counts == [counts[0]] * 12
    unload_model(large)
    assert pinned == set()


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="no peak of the kernel's to measure by")
def test_the_peak_of_swap_is_that_of_the_larger_model() -> None:
    """Resident memory of a process in which loading takes memory and unloading gives it back; `pytest -s` prints it."""
    figures = measure()
    above = {run: figure["peak"] - figure["before"] for run, figure in figures.items()}
    alone = above["large alone"]
    for run, taken in above.items():
        sys.stdout.write(f"{run:24}{taken / 2**20:7.1f} MiB{taken / alone:7.3f} x the large model alone\n")
    weights = {"small": peak_memory.SMALL * peak_memory.BLOCK, "large": peak_memory.LARGE * peak_memory.BLOCK}
    assert weights["large"] <= alone <= 1.1 * weights["large"]
    assert above["swap"] <= 1.1 * alone
    assert above["auto, too little room"] <= peak_memory.SCARCE
    for run in ("keep", "auto"):
        assert above[run] >= sum(weights.values())
    stitched = [figure["result"] for run, figure in figures.items() if run.split(",")[0] in ("swap", "keep", "auto")]
    assert len(stitched) == 4
    assert len(set(stitched)) == 1
