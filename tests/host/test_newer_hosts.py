"""What newer hosts ask of a loader, and of a stage.

They make linear layers and tables without weights, which come with the file (dynamic VRAM), and load a model once more
where they want weights of its own (Train LoRA).
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import comfy.hooks
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.model_sampling
import pytest
import torch
from torch import Tensor

from tstitch.families.bksdm import load_bksdm
from tstitch.families.ldm.model import load_ldm
from tstitch.families.starter import load_starter
from tstitch.families.transformer import load_transformer
from tstitch.trajectory import timesteps_of
from tstitch_testing.checkpoints import bksdm_unet, dit_config, original_weights, save
from tstitch_testing.halves import cfg_guider, normal_sigmas, whole
from tstitch_testing.ldm_files import LDMShape, ldm_weights
from tstitch_testing.models import conditioning
from tstitch_testing.sampling import stitched
from tstitch_testing.unets import unet_model
from tstitch_testing.uvit_files import uvit_config, uvit_weights

FAMILIES: dict[str, tuple[Callable[[], Any], Callable[[Path], Any]]] = {
    "DiT": (
        lambda: original_weights(dit_config(depth=1, classes=3, grid=2)),
        lambda path: load_transformer(path, heads=2, dtype=torch.bfloat16)[0],
    ),
    "U-ViT": (
        lambda: uvit_weights(uvit_config(pairs=1, classes=3, grid=2)),
        lambda path: load_transformer(path, heads=2, dtype=torch.bfloat16)[0],
    ),
    "BK-SDM": (lambda: bksdm_unet("tiny").state_dict(), lambda path: load_bksdm(path, dtype=torch.bfloat16)),
    "LDM": (lambda: ldm_weights(LDMShape()), lambda path: load_ldm(path, dtype=torch.bfloat16).model),
}


@pytest.fixture
def lazy_layers(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    memory_management = pytest.importorskip("comfy.memory_management", reason="this host makes all weights at once")
    return lambda: monkeypatch.setattr(memory_management, "aimdo_enabled", True)


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_without_weights_take_those_of_the_file(
    family: str, lazy_layers: Callable[[], None], tmp_path: Path
) -> None:
    weights, load = FAMILIES[family]
    path = save(weights(), tmp_path / "model.pt")
    expected = load(path).model.diffusion_model.state_dict()
    lazy_layers()
    found = load(path).model.diffusion_model.state_dict()
    assert set(found) == set(expected)
    for key, value in found.items():
        assert value.dtype == expected[key].dtype
        assert torch.equal(value, expected[key])


def load_once_more(patcher: Any, disable_dynamic: bool = True) -> Any:
    """As the host does, for hooks, which patch weights that are not paged, or for another GPU."""
    load, arguments, *index = patcher.cached_patcher_init
    loaded = load(*arguments, **({"disable_dynamic": True} if disable_dynamic else {}))
    return loaded[index[0]] if index else loaded


def assert_equal_but_apart(first: Any, second: Any) -> None:
    assert second.model is not first.model
    one, other = (patcher.model.diffusion_model.state_dict() for patcher in (first, second))
    assert set(one) == set(other)
    for key, value in one.items():
        assert value.data_ptr() != other[key].data_ptr()
        assert value.dtype == other[key].dtype
        assert torch.equal(value, other[key])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_can_be_loaded_once_more(family: str, tmp_path: Path) -> None:
    weights, load = FAMILIES[family]
    loaded = load(save(weights(), tmp_path / "model.pt"))
    again = load_once_more(loaded)
    assert_equal_but_apart(loaded, again)
    assert_equal_but_apart(again, load_once_more(again))


def test_a_starter_can_be_loaded_once_more() -> None:
    loaded = load_starter("S")
    assert_equal_but_apart(loaded, load_once_more(loaded))


class PagedWeights(comfy.model_patcher.ModelPatcher):
    """As the host's MODEL whose weights are paged on a GPU, as far as loaders go."""

    def is_dynamic(self) -> bool:
        return True


@pytest.fixture
def paging(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """The host pages weights; whether each model took them over from its file, which then backs the pages."""
    taken_over: list[bool] = []
    original = comfy.model_base.BaseModel.load_model_weights

    def load_model_weights(self: Any, state: Any, prefix: str = "", assign: bool = False) -> Any:
        taken_over.append(assign)
        return original(self, state, prefix)

    monkeypatch.setattr(comfy.model_base.BaseModel, "load_model_weights", load_model_weights)
    monkeypatch.setattr(comfy.model_patcher, "CoreModelPatcher", PagedWeights, raising=False)
    return taken_over


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_are_paged_where_the_host_pages(family: str, paging: list[bool], tmp_path: Path) -> None:
    weights, load = FAMILIES[family]
    loaded = load(save(weights(), tmp_path / "model.pt"))
    assert type(loaded) is PagedWeights
    assert type(loaded.clone()) is PagedWeights
    assert type(load_once_more(loaded)) is comfy.model_patcher.ModelPatcher
    assert type(load_once_more(loaded, disable_dynamic=False)) is PagedWeights
    assert paging == [True, False, True]


def test_the_weights_of_a_starter_are_paged_where_the_host_pages(paging: list[bool]) -> None:
    assert type(load_starter("S")) is PagedWeights
    assert paging == [True]


class Paged(comfy.model_patcher.ModelPatcher):
    """As the host's MODEL whose weights are paged on a GPU, as far as hooks go."""

    def is_dynamic(self) -> bool:
        return True

    def patch_hook_weight_to_device(self, *_: Any, **__: Any) -> None:
        raise RuntimeError("Hooks not implemented in ModelPatcherDynamic.")

    def get_non_dynamic_delegate(self) -> Any:
        delegate = self.clone()
        delegate.__class__ = comfy.model_patcher.ModelPatcher
        return delegate


def hooked_prompt(model: Any) -> list[Any]:
    hook, group, prompt = comfy.hooks.WeightHook(), comfy.hooks.HookGroup(), conditioning(0.4)
    weights = {key: value for key, value in model.model_state_dict().items() if key.endswith("to_q.weight")}
    hook.weights = {key: ("diff", (0.1 * torch.ones_like(value),)) for key, value in weights.items()}
    hook.need_weight_init = False
    group.add(hook)
    prompt[0][1]["hooks"] = group
    return prompt


@pytest.mark.skipif(not hasattr(comfy.model_patcher, "ModelPatcherDynamic"), reason="this host pages no weights")
def test_hooks_of_the_prompt_reach_a_stage_that_is_paged() -> None:
    def run(kind: type) -> torch.Tensor:
        models = [unet_model(1), unet_model(2)]
        for model in models:
            model.__class__ = kind
        guider = cfg_guider(stitched(models, pattern="1x3 2x3"), positive=hooked_prompt(models[1]))
        return whole(guider, torch.zeros(1, 4, 8, 8), normal_sigmas(models[1], 6))

    assert torch.equal(run(Paged), run(comfy.model_patcher.ModelPatcher))


SECOND = torch.device("cpu:1")  # holds the same tensors as "cpu", but the host counts it as a device of its own


def on_two_devices(seed: int, used: list[tuple[int, torch.device]], monkeypatch: pytest.MonkeyPatch) -> Any:
    """A MODEL as from MultiGPU CFG Split, which notes the device of each call."""
    multigpu = pytest.importorskip("comfy.multigpu", reason="this host uses one GPU per model")

    def load() -> Any:
        model = unet_model(seed)
        network = model.model.diffusion_model
        forward = network.forward

        def noting(*args: Any, **kwargs: Any) -> Tensor:
            used.append((seed, kwargs["transformer_options"].get("multigpu_thread_device")))
            return forward(*args, **kwargs)

        network.forward = noting
        return model

    model = load()
    model.cached_patcher_init = (load, ())
    both = [model.load_device, SECOND]
    monkeypatch.setattr(comfy.model_management, "get_all_torch_devices", lambda **_: both)
    return multigpu.create_multigpu_deepclones(model, 2)


@pytest.mark.parametrize("pattern", ["1x3 2x3", "1x2 2x2 1x1 2x1"])
def test_a_late_stage_shares_its_work_between_gpus(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[tuple[int, torch.device]] = []
    models = [on_two_devices(seed, used, monkeypatch) for seed in (1, 2)]
    arguments = torch.zeros(1, 4, 8, 8), normal_sigmas(models[0], 6)
    threads = threading.active_count()

    def drawn(memory: str) -> tuple[Tensor, dict[tuple[int, torch.device], int]]:
        used.clear()
        found = whole(cfg_guider(stitched(models, pattern=pattern, memory=memory)), *arguments)
        return found, Counter(used)

    expected, calls = drawn("keep")
    first = models[0].load_device
    assert calls == {(seed, device): 3 for seed in (1, 2) for device in (first, SECOND)}
    assert threading.active_count() == threads
    found, late = drawn("swap")
    assert late == calls
    assert torch.equal(found, expected)
    assert threading.active_count() == threads
    copies = [copy for model in models for copy in model.get_additional_models_with_key("multigpu")]
    assert all(copy.model.current_patcher is None for copy in copies)
    alone = stitched([unet_model(1), unet_model(2)], pattern=pattern)
    torch.testing.assert_close(expected, whole(cfg_guider(alone), *arguments), rtol=1e-3, atol=1e-3)


def test_two_variants_of_a_model_on_two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[tuple[int, torch.device]] = []
    model = on_two_devices(1, used, monkeypatch)
    key = next(key for key in model.model_state_dict() if key.endswith("to_q.weight"))
    changed = model.clone()
    changed.add_patches({key: ("diff", (0.5 * model.model_state_dict()[key].flip(0),))}, 1.0)
    arguments = torch.zeros(1, 4, 8, 8), normal_sigmas(model, 6)
    expected = [whole(cfg_guider(each), *arguments) for each in (model, changed)]
    assert not torch.equal(*expected)
    for fraction, alone in (("1", expected[0]), ("0", expected[1])):
        assert torch.equal(whole(cfg_guider(stitched([model, changed], fraction)), *arguments), alone)
    single = unet_model(1)
    other = single.clone()
    other.add_patches({key: ("diff", (0.5 * single.model_state_dict()[key].flip(0),))}, 1.0)
    for pattern in ("1x3 2x3", "1x2 2x2 1x1 2x1"):
        found = whole(cfg_guider(stitched([model, changed], pattern=pattern)), *arguments)
        alone = whole(cfg_guider(stitched([single, other], pattern=pattern)), *arguments)
        torch.testing.assert_close(found, alone, rtol=1e-3, atol=1e-3)


class FallingTimesteps(comfy.model_sampling.ModelSamplingDiscreteFlow, comfy.model_sampling.CONST):
    """As SenseNova's: the network is told how much of the image is there, not how much noise."""

    @property
    def sigma_min(self) -> Tensor:
        return torch.tensor(0.0)

    @property
    def sigma_max(self) -> Tensor:
        return torch.tensor(1.0)

    def timestep(self, sigma: Tensor) -> Tensor:
        return (1 - sigma) * 1000


def test_a_network_may_count_its_timesteps_towards_the_image() -> None:
    assert timesteps_of([1.0, 0.75, 0.25, 0.0], FallingTimesteps()) == (1.0, 0.75, 0.25, 0.0)


def test_what_a_network_has_cached_leaves_with_its_swapped_out_stage() -> None:
    """Qwen-Image 2.1 lets go of keys and values of the prompt when it is told of its patcher."""
    models = [unet_model(1), unet_model(2)]
    cached: dict[int, bool] = {0: False, 1: False}
    seen: list[dict[int, bool]] = []

    def caching(index: int, model: Any) -> None:
        class Caching(type(model)):  # type: ignore[misc]
            @property
            def current_patcher(self) -> Any:
                return vars(self).get("patcher")

            @current_patcher.setter
            def current_patcher(self, patcher: Any) -> None:
                cached[index] = False
                vars(self)["patcher"] = patcher

            def apply_model(self, *args: Any, **kwargs: Any) -> Any:
                cached[index] = True
                seen.append(dict(cached))
                return super().apply_model(*args, **kwargs)

        model.__class__ = Caching

    for index, model in enumerate(models):
        caching(index, model.model)
    arguments = torch.zeros(1, 4, 8, 8), normal_sigmas(models[0], 6)
    whole(cfg_guider(stitched(models, pattern="1x3 2x3", memory="swap")), *arguments)
    assert all(found == {0: True, 1: False} for found in seen[: len(seen) // 2])
    assert all(found == {0: False, 1: True} for found in seen[len(seen) // 2 :])


def test_a_model_is_told_of_its_patcher_as_often_as_by_the_host() -> None:
    """Some make what they have cached anew each time (Qwen-Image 2.1)."""
    models = [unet_model(1), unet_model(2)]
    told: list[Any] = []

    def counted(model: Any) -> None:
        class Counting(type(model)):  # type: ignore[misc]
            @property
            def current_patcher(self) -> Any:
                return vars(self).get("patcher")

            @current_patcher.setter
            def current_patcher(self, patcher: Any) -> None:
                told.append(patcher)
                vars(self)["patcher"] = patcher

        model.__class__ = Counting

    for model in models:
        counted(model.model)
    arguments = torch.zeros(1, 4, 8, 8), normal_sigmas(models[0], 6)
    for model in models:
        whole(cfg_guider(model), *arguments)
    by_the_host, told[:] = len(told), []
    whole(cfg_guider(stitched(models, pattern="1x3 2x3", memory="keep")), *arguments)
    assert len(told) == by_the_host > 0
