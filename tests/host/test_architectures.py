"""Networks of the host, loaded by its own loaders from files in their published layout: what T-Stitch users stitch.

The weights are random; the layouts, the detection, the networks, the conditioning and the samplers are real.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import comfy.model_management
import comfy.sd
import pytest
import torch
from torch import Tensor

from tstitch.families.bksdm import load_bksdm
from tstitch.resolution.model import low_resolution
from tstitch.stitch.model import ModelStage, stitch_model
from tstitch_testing import architectures
from tstitch_testing.architectures import Architecture, shapes_of, write
from tstitch_testing.checkpoints import bksdm_network
from tstitch_testing.halves import cfg_guider, halves, normal_sigmas, whole
from tstitch_testing.sampling import stitch_of, stitched

HALF = torch.float16  # of the large files; the host computes in float32 on a CPU


@dataclass(frozen=True)
class Model:
    """A size of an architecture, and what the host must take its file for."""

    architecture: Callable[[], Architecture]
    found: str  # the host's class of configuration
    dtype: torch.dtype = torch.float32

    def load(self, folder: Path, seed: int) -> Any:
        architecture = self.architecture()
        if not architecture.is_read_from_the_file():
            pytest.skip("the host knows this architecture in its published size only")
        shapes = architecture.shapes()
        path = write(folder / f"{self.found}_{seed}.safetensors", shapes, seed, self.dtype)
        model = comfy.sd.load_diffusion_model(str(path), model_options={"dtype": self.dtype})
        path.unlink()  # up to 5 GB, read in full by now
        assert type(model.model.model_config).__name__ == self.found
        assert len(model.model.diffusion_model.state_dict()) == len(shapes)
        return model


@dataclass(frozen=True)
class Tiny:
    """BK-SDM-Tiny at its published size, by the pack's own loader."""

    def load(self, folder: Path, seed: int) -> Any:
        with torch.device("meta"):
            network = bksdm_network("tiny", 320)
        path = write(folder / "tiny.safetensors", shapes_of(network), seed, HALF)
        model = load_bksdm(path, dtype=HALF)
        path.unlink()
        return model


def text(width: int, pooled: int | None = None) -> tuple[Any, Any]:
    """A positive and a negative prompt, as encoded."""
    generator = torch.Generator().manual_seed(11)
    conds = []
    for tokens in (5, 4):
        values = {} if pooled is None else {"pooled_output": torch.randn(1, pooled, generator=generator)}
        conds.append([[torch.randn(1, tokens, width, generator=generator), values]])
    return conds[0], conds[1]


@dataclass(frozen=True)
class Family:
    """Models that share latents and conditioning, the large one last."""

    models: tuple[Any, ...]
    shape: tuple[int, ...]  # of the latent
    text: tuple[int, int | None]  # widths of the prompt and of its pooled form
    cfg: float = 2.5
    steps: int = 5


def flux_width() -> int:
    """A narrow Flux where the host reads the width from the file, else the published one."""
    return 256 if architectures.flux(256, 1, 1).is_read_from_the_file() else 3072


def flux(depth: int, single_depth: int) -> Callable[[], Architecture]:
    return lambda: architectures.flux(flux_width(), depth, single_depth)


FAMILIES = {
    "wan": Family(
        (
            Model(lambda: architectures.wan(256, 2), "WAN21_T2V"),
            Model(lambda: architectures.wan(384, 3), "WAN21_T2V"),
        ),
        (1, 16, 2, 4, 6),
        (4096, None),
    ),
    "flux": Family(
        (Model(flux(1, 0), "Flux", HALF), Model(flux(1, 1), "Flux", HALF)), (1, 16, 4, 6), (4096, 768), 1.0, 2
    ),
    "sd3": Family(
        (Model(lambda: architectures.sd3(2, None), "SD3"), Model(lambda: architectures.sd3(4, "rms"), "SD3")),
        (2, 16, 6, 4),
        (4096, 2048),
    ),
    "sdxl": Family(
        (Model(architectures.ssd1b, "SSD1B", HALF), Model(architectures.sdxl, "SDXL", HALF)),
        (1, 4, 8, 8),
        (2048, 1280),
        2.5,
        2,
    ),
    "sd15": Family(
        (
            Tiny(),
            Model(lambda: architectures.sd15([1, 1, 1, 1]), "SD15", HALF),
            Model(architectures.sd15, "SD15", HALF),
        ),
        (1, 4, 8, 8),
        (768, 768),
        1.0,
        2,
    ),
}


@dataclass
class Loaded:
    """The models of a family, and what the stock KSampler makes of each alone."""

    family: Family
    nodes: ModuleType
    models: list[Any]
    alone: list[Tensor] = field(default_factory=list)

    def sample(self, model: Any, sampler: str = "dpmpp_2m", **options: Any) -> Tensor:
        latent = options.pop("latent", torch.zeros(self.family.shape))
        positive, negative = text(*self.family.text)
        steps, cfg = self.family.steps, self.family.cfg
        (result,) = self.nodes.common_ksampler(
            model, 7, steps, cfg, sampler, "simple", positive, negative, {"samples": latent}, **options
        )
        return result["samples"]

    @property
    def split(self) -> int:
        """0.4 or 0.5 of the steps."""
        return self.family.steps // 2


@pytest.fixture(scope="module", params=FAMILIES)
def loaded(request: pytest.FixtureRequest, host_nodes: ModuleType, tmp_path_factory: Any) -> Iterator[Loaded]:
    family, folder = FAMILIES[request.param], tmp_path_factory.mktemp(request.param)
    models = [model.load(folder, seed) for seed, model in enumerate(family.models, 1)]
    found = Loaded(family, host_nodes, models)
    found.alone = [found.sample(model) for model in models]
    yield found
    found.models.clear()
    models.clear()
    release()


def release() -> None:
    """Gigabytes of weights."""
    comfy.model_management.unload_all_models()
    gc.collect()


def test_the_models_draw_something_and_differ(loaded: Loaded) -> None:
    for samples in loaded.alone:
        assert samples.shape == loaded.family.shape
        assert torch.isfinite(samples).all()
        assert 0.01 < samples.std() < 1000
    for first, second in zip(loaded.alone[:-1], loaded.alone[1:], strict=True):
        assert relative_difference(first, second) > 0.01


def test_fractions_0_and_1_are_one_model_alone(loaded: Loaded) -> None:
    *smalls, large = loaded.models
    assert torch.equal(loaded.sample(stitched(loaded.models, ", ".join("0" for _ in smalls))), loaded.alone[-1])
    for small, alone in zip(smalls, loaded.alone[:-1], strict=True):
        assert torch.equal(loaded.sample(stitched([small, large], "1")), alone)


def test_one_model_in_both_stages_is_the_stock_sampler(loaded: Loaded) -> None:
    model = loaded.models[-1]
    assert torch.equal(loaded.sample(stitched([model.clone(), model], "0.5")), loaded.alone[-1])


def test_a_split_equals_a_chain_of_two_stock_samplers(loaded: Loaded) -> None:
    *smalls, large = loaded.models
    for small in smalls:
        found = loaded.sample(stitched([small, large], str(loaded.split), unit="step"), "euler")
        middle = loaded.sample(small, "euler", start_step=0, last_step=loaded.split)
        expected = loaded.sample(
            large, "euler", latent=middle, disable_noise=True, start_step=loaded.split, force_full_denoise=True
        )
        assert torch.isfinite(found).all()
        assert relative_difference(found, expected) < 1e-4
        for alone in loaded.alone:
            assert relative_difference(found, alone) > 1e-3


def relative_difference(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.fixture(scope="module")
def mixed(host_nodes: ModuleType, tmp_path_factory: Any) -> Iterator[tuple[Any, Any]]:
    """Two architectures on the latents of the Flux VAE, each with a text encoder of its own."""
    folder = tmp_path_factory.mktemp("mixed")
    large = Model(lambda: architectures.lumina2(1, 256), "Lumina2", HALF).load(folder, 1)
    small = Model(flux(1, 1), "Flux", HALF).load(folder, 2)
    pair = [small, large]
    del small, large
    yield tuple(pair)
    pair.clear()
    release()


def test_architectures_of_one_latent_space_are_mixed(mixed: tuple[Any, Any]) -> None:
    latent, prompts = torch.zeros(1, 16, 4, 6), [text(4096, 768), text(256)]
    guiders = [cfg_guider(model, 1.0, *prompt) for model, prompt in zip(mixed, prompts, strict=True)]
    sigmas = normal_sigmas(mixed[1], 2)

    def run(splits: str) -> Tensor:
        model = stitch_model(mixed[1], [ModelStage(mixed[0], *prompts[0])], stitch_of(2, splits))
        return whole(cfg_guider(model, 1.0, *prompts[1]), latent, sigmas)

    small, large = (whole(guider, latent, sigmas) for guider in guiders)
    assert torch.isfinite(small).all()
    assert torch.isfinite(large).all()
    assert relative_difference(small, large) > 0.01
    assert torch.equal(run("0"), large)
    assert torch.equal(run("1"), small)
    assert torch.equal(run("0.5"), halves(guiders, [1], latent, sigmas))


def test_the_large_model_is_its_own_small_one_at_a_lower_resolution(loaded: Loaded) -> None:
    large, shape = loaded.models[-1], loaded.family.shape
    # The U-Net of SD 1.5 halves its latents three times.
    latent = torch.zeros(*shape[:-2], 16, 8) if shape[1] == 4 else torch.zeros(shape)
    reduced = low_resolution(large, 0.5)
    found = loaded.sample(stitched([reduced, large], str(loaded.split), unit="step"), "euler", latent=latent)
    middle = loaded.sample(reduced, "euler", latent=latent, start_step=0, last_step=loaded.split)
    expected = loaded.sample(
        large, "euler", latent=middle, disable_noise=True, start_step=loaded.split, force_full_denoise=True
    )
    assert torch.isfinite(found).all()
    assert relative_difference(found, expected) < 1e-4
    assert relative_difference(found, loaded.sample(large, "euler", latent=latent)) > 1e-3


def test_a_lower_resolution_of_a_size_that_the_patches_do_not_divide(loaded: Loaded) -> None:
    latent = torch.zeros(*loaded.family.shape[:-2], 10, 14)
    found = loaded.sample(low_resolution(loaded.models[-1], 0.75), latent=latent)
    assert found.shape == latent.shape
    assert torch.isfinite(found).all()
