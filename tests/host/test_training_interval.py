"""Training Interval with the host's own Train LoRA on the starter models: real training runs, seconds each."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import comfy.model_management
import comfy.model_sampling
import comfy.sample
import comfy.utils
import folder_paths
import pytest
import torch
from torch import Tensor

from tstitch.errors import StitchError
from tstitch.guidance.model import Guidance, guided_model
from tstitch.resolution.model import low_resolution
from tstitch.training_interval import TrainingInterval, limit_training
from tstitch_testing.host import extra_nodes, run_node
from tstitch_testing.models import gaussian_model
from tstitch_testing.sampling import ksample, stitched

IMAGES, STEPS = 4, 25


@pytest.fixture(scope="module")
def starters(host_nodes: ModuleType) -> dict[str, tuple[Any, ...]]:
    """Loaded as the host runs nodes: in inference mode."""
    load = host_nodes.NODE_CLASS_MAPPINGS["TStitchLoadStarter"].execute
    with torch.inference_mode():
        return {name: load(name, "Micah").result for name in ("S", "S-eps")}


def limit(host_nodes: ModuleType, model: Any, *interval: Any) -> Any:
    return host_nodes.NODE_CLASS_MAPPINGS["TStitchTrainingInterval"].execute(model, *interval).result[0]


class Trained(NamedTuple):
    """What Train LoRA gives."""

    lora: dict[str, Tensor]
    losses: Any
    model: Any = None  # of older hosts only


def train(model: Any, positive: Any, steps: int = STEPS, **changes: Any) -> Trained:
    """With the random numbers of one seed."""
    node = extra_nodes("nodes_train").TrainLoraNode
    inputs = {
        "model": model,
        "positive": positive,
        "batch_size": IMAGES,
        "grad_accumulation_steps": 1,
        "steps": steps,
        "learning_rate": 1e-3,
        "rank": 4,
        "optimizer": "AdamW",
        "loss_function": "MSE",
        "seed": 0,
        "training_dtype": "fp32",
        "lora_dtype": "fp32",
        "algorithm": "LoRA",
        "gradient_checkpointing": False,
        "existing_lora": "[None]",
        **changes,
    }
    torch.manual_seed(0)
    with torch.inference_mode():
        latents = torch.randn(IMAGES, 4, 8, 8)
        if hasattr(node, "define_schema"):  # this Train LoRA takes lists, and two latents or more
            newer = {each.id: each.default for each in node.define_schema().inputs if hasattr(each, "default")}
            inputs = {name: [value] for name, value in {**newer, **inputs}.items()}
            inputs["latents"] = [{"samples": latent[None]} for latent in latents]
        else:
            inputs["latents"] = {"samples": latents}
        *first, lora, losses, _ = run_node(node, **inputs)
        return Trained(lora, losses, *first)


@contextmanager
def timesteps_seen(model: Any) -> Iterator[list[float]]:
    """Noise levels t in [0, 1] of each row that reaches the network, whose own scale is 1000 or 999 steps."""
    seen: list[float] = []
    scale = 1000.0 if isinstance(model.model.model_sampling, comfy.model_sampling.CONST) else 999.0

    def record(module: torch.nn.Module, arguments: tuple[Any, ...]) -> None:
        if isinstance(module, network):
            seen.extend((arguments[1].detach() / scale).tolist())

    network = type(model.model.diffusion_model)
    hook = torch.nn.modules.module.register_module_forward_pre_hook(record)  # newer hosts train a model loaded again
    try:
        yield seen
    finally:
        hook.remove()


def unshifted(time: float, shift: float) -> float:
    """The time before the time shift, which the host draws evenly."""
    return time / (shift + (1 - shift) * time)


@pytest.mark.parametrize(("name", "shift"), [("S", 3.0), ("S-eps", 1.0)])
@pytest.mark.parametrize("interval", [(0.0, 0.4, "steps"), (0.875, 0.25, "timestep")])
def test_train_lora_sees_the_interval_and_all_of_it(
    host_nodes: ModuleType,
    starters: dict[str, Any],
    name: str,
    shift: float,
    interval: tuple[float, float, str],
) -> None:
    model, _, positive, *_ = starters[name]
    start, end, unit = interval
    low, high = (1 - end, 1 - start) if unit == "steps" else (unshifted(end, shift), unshifted(start, shift))
    limited = limit(host_nodes, model, *interval)
    with timesteps_seen(model) as seen:
        train(limited, positive)
    drawn = [unshifted(time, shift) for time in seen]
    rounding = 1e-3 if name == "S-eps" else 1e-6  # a network of 1000 noise levels is told the nearest one
    assert min(drawn) >= low - rounding
    assert max(drawn) <= high + rounding
    width = high - low
    assert len(set(drawn)) >= IMAGES * STEPS * 0.8
    assert min(drawn) < low + 0.1 * width
    assert max(drawn) > high - 0.1 * width
    assert sum(drawn) / len(drawn) == pytest.approx((low + high) / 2, abs=0.1 * width)


def test_without_the_node_train_lora_sees_everything(starters: dict[str, Any]) -> None:
    """The recording finds levels outside of an interval where there are some."""
    model, _, positive, *_ = starters["S"]
    with timesteps_seen(model) as seen:
        train(model, positive)
    assert min(seen) < 0.1
    assert max(seen) > 0.9


@pytest.mark.parametrize("interval", [(0.0, 1.0, "steps"), (1.0, 0.0, "timestep"), (1.0, 0.0, "sigma")])
def test_the_full_interval_trains_the_same_lora_bit_for_bit(
    host_nodes: ModuleType, starters: dict[str, Any], interval: tuple[float, float, str]
) -> None:
    model, _, positive, *_ = starters["S"]
    stock = train(model, positive, steps=4)
    ours = train(limit(host_nodes, model, *interval), positive, steps=4)
    assert ours.losses == stock.losses
    assert stock.lora.keys() == ours.lora.keys()
    for key, value in stock.lora.items():
        assert torch.equal(value, ours.lora[key]), key


def test_the_interval_leaves_the_model_as_it_was(host_nodes: ModuleType, starters: dict[str, Any]) -> None:
    model, _, positive, *_ = starters["S"]
    patches, sampling = dict(model.object_patches), model.model.model_sampling
    limited = limit(host_nodes, model, 0.0, 0.4, "steps")
    trained = train(limited, positive, steps=2).model or limited
    assert model.object_patches == patches
    assert trained.get_model_object("model_sampling") is not sampling
    comfy.model_management.unload_all_models()
    assert model.model.model_sampling is sampling


@pytest.mark.parametrize("kind", ["EPS", "V_PREDICTION", "EDM", "FLOW", "FLUX", "V_PREDICTION_CONTINUOUS"])
def test_sampling_with_the_limited_model_is_the_stock_one(kind: str) -> None:
    model = gaussian_model(kind=comfy.model_base.ModelType[kind])
    limited = limit_training(model, TrainingInterval(0.2, 0.5))
    with torch.inference_mode():
        assert torch.equal(ksample(model, "dpmpp_2m"), ksample(limited, "dpmpp_2m"))
        stock, own = (each.get_model_object("model_sampling") for each in (model, limited))
        assert isinstance(own, type(stock))
        assert [own.percent_to_sigma(part) for part in (0, 0.3, 1)] == [
            stock.percent_to_sigma(part) for part in (0, 0.3, 1)
        ]


@pytest.mark.parametrize("kind", ["EPS", "V_PREDICTION", "EDM", "FLOW", "FLUX", "V_PREDICTION_CONTINUOUS"])
def test_levels_are_the_hosts_own_within_the_interval(kind: str) -> None:
    """u in [0, 1] becomes the noise level of that part of the interval, whatever the unit it was written in."""
    model = gaussian_model(kind=comfy.model_base.ModelType[kind])
    stock = model.get_model_object("model_sampling")
    high, low = (float(stock.percent_to_sigma(part)) for part in (0.2, 0.5))
    for interval in (TrainingInterval(0.2, 0.5), TrainingInterval(high, low, "sigma")):
        own = limit_training(model, interval).get_model_object("model_sampling")
        for u in (0.0, 0.25, 1.0):
            expected = float(stock.percent_to_sigma(0.2 + u * (0.5 - 0.2)))
            assert own.percent_to_sigma(u) == pytest.approx(expected, rel=1e-5)
        assert low <= own.percent_to_sigma(1.0) <= own.percent_to_sigma(0.0) <= high
    first = limit_training(model, TrainingInterval(0.0, 0.5)).get_model_object("model_sampling")
    assert first.percent_to_sigma(0.0) <= float(stock.sigma_max)


def test_the_lora_works_on_the_model_itself(
    host_nodes: ModuleType,
    starters: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Over both of the host's ways, by socket and by file; the result is what Train LoRA's own model draws."""
    model, _, positive, negative, latent = starters["S"]
    lora, losses, trained = train(limit(host_nodes, model, 0.0, 0.4, "steps"), positive, learning_rate=5e-3)
    half = len(losses["loss"]) // 2
    assert sum(losses["loss"][half:]) < sum(losses["loss"][:half])

    comfy.utils.save_torch_file({key: value.contiguous() for key, value in lora.items()}, tmp_path / "own.safetensors")
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "loras", ([str(tmp_path)], {".safetensors"}))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    with caplog.at_level(logging.WARNING), torch.inference_mode():
        by_socket = run_node(extra_nodes("nodes_train").LoraModelLoader, model=model, lora=lora, strength_model=1.0)[0]
        loader = host_nodes.NODE_CLASS_MAPPINGS["LoraLoaderModelOnly"]()
        by_file = loader.load_lora_model_only(model, "own.safetensors", 1.0)[0]
        drawn = {
            name: comfy.sample.sample(
                each, noise_like(latent), 5, 1.0, "euler", "simple", positive, negative, latent["samples"], seed=3
            )
            for name, each in {"none": model, "trained": trained, "socket": by_socket, "file": by_file}.items()
            if each is not None
        }
    assert "lora key not loaded" not in caplog.text
    assert torch.equal(drawn["socket"], drawn["file"])
    assert (drawn["socket"] - drawn["none"]).abs().max() > 0.05
    if trained is not None:
        torch.testing.assert_close(drawn["socket"], drawn["trained"], atol=1e-3, rtol=1e-3)


def noise_like(latent: dict[str, Tensor]) -> Tensor:
    return comfy.sample.prepare_noise(latent["samples"], 3)


@pytest.mark.parametrize(
    ("interval", "message"),
    [
        ((0.4, 0.4, "steps"), "end must be above start in unit steps, got start 0.4 and end 0.4"),
        ((0.0, 1.5, "steps"), "end in unit steps goes from 0 to 1, got 1.5"),
        ((0.0, 0.4, "timestep"), "end must be below start in unit timestep, as the noise falls"),
        ((-1.0, 0.4, "sigma"), "start must be zero or above, got -1"),
        ((float("nan"), 0.4, "steps"), "start must be zero or above, got nan"),
        ((None, 0.4, "steps"), "start must be a number, got None"),
        ((0.0, 0.4, "step"), "unit must be one of steps, timestep, sigma, got step"),
        ((30.0, 20.0, "sigma"), "end is sigma 20, but the noise of this model begins at sigma"),
        ((0.002, 0.001, "sigma"), "are the same noise level to this model"),
    ],
)
def test_a_wrong_interval_is_refused_in_one_sentence(interval: tuple[Any, Any, str], message: str) -> None:
    with pytest.raises(StitchError) as caught:
        limit_training(gaussian_model(), TrainingInterval(*interval))
    assert message in str(caught.value)


def test_the_page_refuses_a_wrong_interval_before_the_run(host_nodes: ModuleType) -> None:
    node = host_nodes.NODE_CLASS_MAPPINGS["TStitchTrainingInterval"]
    assert node.validate_inputs(start=0.0, end=0.4, unit="steps") is True
    assert node.validate_inputs(start=None, end=0.4, unit="steps") is True  # comes over a link
    assert "end must be above start" in node.validate_inputs(start=0.5, end=0.4, unit="steps")


def test_what_is_no_single_model_is_refused() -> None:
    with pytest.raises(StitchError, match="model is empty, not a MODEL"):
        limit_training(None, TrainingInterval(0.0, 0.4))
    limited = limit_training(gaussian_model(), TrainingInterval(0.0, 0.4))
    with pytest.raises(StitchError, match="already has a Training Interval"):
        limit_training(limited, TrainingInterval(0.4, 1.0))
    joined = stitched([gaussian_model(), gaussian_model()])
    with pytest.raises(StitchError, match="already stitched"):
        limit_training(joined, TrainingInterval(0.0, 0.4))
    with pytest.raises(StitchError, match="already stitched"):
        limit_training(guided_model(gaussian_model(), gaussian_model(), Guidance()), TrainingInterval(0.0, 0.4))


def test_a_model_at_a_lower_resolution_is_refused_in_words_of_its_own() -> None:
    with pytest.raises(StitchError, match=r"asked at 0.5 of the resolution.*before Low-Resolution Model"):
        limit_training(low_resolution(gaussian_model(), 0.5), TrainingInterval(0.0, 0.4))
    whole = low_resolution(gaussian_model(), 1.0)
    assert torch.equal(ksample(limit_training(whole, TrainingInterval(0.0, 0.4))), ksample(gaussian_model()))
