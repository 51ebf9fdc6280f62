"""Wrong uses, the sentence each is answered with, and that the next run is not affected by them.

`pytest -s` prints the list.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import comfy.latent_formats as formats
import comfy.model_sampling
import comfy.sample
import comfy.samplers
import comfy.sd
import comfy.utils
import pytest
import torch
from comfy.model_base import ModelType
from torch import Tensor

from tstitch.stitch.guider import StitchedGuider
from tstitch.stitch.model import ModelStage, stitch_model
from tstitch_testing import architectures
from tstitch_testing.models import conditioning, gaussian_model
from tstitch_testing.sampling import ksample, stitch_of, stitched

TEXTS = json.loads((Path(__file__).parents[1] / "data" / "schedules.json").read_text(encoding="utf-8"))["cases"]


@dataclass(frozen=True)
class Kit:
    """What a wrong use is made of."""

    nodes: dict[str, Any]
    small: Any
    large: Any

    def ksampler(self, **changes: Any) -> Any:
        """T-Stitch KSampler, right but for `changes`."""
        return self.nodes["TStitchKSampler"].execute(**{**self.sampler_inputs(), "seed": 1, "denoise": 1.0, **changes})

    def advanced(self, **changes: Any) -> Any:
        own = {"add_noise": "enable", "noise_seed": 1, "start_at_step": 0, "end_at_step": 10000}
        own["return_with_leftover_noise"] = "disable"
        return self.nodes["TStitchKSamplerAdvanced"].execute(**{**self.sampler_inputs(), **own, **changes})

    def sampler_inputs(self) -> dict[str, Any]:
        return {
            "model": self.large,
            "small_model": self.small,
            "steps": 5,
            "cfg": 3.0,
            "sampler_name": "dpmpp_2m_sde",
            "scheduler": "karras",
            "positive": conditioning(0.4),
            "negative": conditioning(-0.2),
            "latent_image": {"samples": torch.zeros(2, 4, 6, 5)},
            "fraction": 0.4,
        }

    def schedule(self, **changes: Any) -> Any:
        """The MODEL of Multi-Model Schedule."""
        texts = {"splits": "0.4", "unit": "steps", "pattern": "", "memory": "auto"}
        inputs = {"final_model": self.large, "model_1": self.small, **texts, **changes}
        return self.nodes["TStitchModelSchedule"].execute(**inputs).result[0]

    def guider(self, model: Any = None) -> Any:
        guider = comfy.samplers.CFGGuider(model or self.large)
        guider.set_conds(conditioning(0.4), conditioning(-0.2))
        guider.set_cfg(3.0)
        return guider

    def guiders(self, **changes: Any) -> Any:
        """The GUIDER of Stitch Guiders."""
        texts = {"splits": "0.4", "unit": "steps", "pattern": "", "memory": "auto"}
        inputs = {"final_guider": self.guider(), "guider_1": self.guider(self.small), **texts, **changes}
        return self.nodes["TStitchGuiders"].execute(**inputs).result[0]

    def guide(self, guider: Any, sigmas: Tensor | None = None, channels: int = 4) -> Tensor:
        latent = torch.full((1, channels, 4, 4), 0.5)
        levels = torch.tensor([14.0, 5.0, 2.0, 0.5, 0.0]) if sigmas is None else sigmas
        sampler = comfy.samplers.sampler_object("euler")
        return guider.sample(comfy.sample.prepare_noise(latent, 1), latent, sampler, levels, disable_pbar=True, seed=1)


Use = Callable[[Kit], Any]
USES: dict[str, tuple[Use, str]] = {}


def wrong(name: str, use: Use, message: str) -> None:
    assert name not in USES
    USES[name] = use, message


# Schedules, as far as they can be judged only when the run is known; their texts follow below.
SHORT = "The pattern adds up to 4 steps, but this run has 5: change the counts, or the steps of the sampler."
BEYOND = (
    "The split at step 6 lies beyond the 5 steps of this run: lower it, or use unit steps, which counts in fractions."
)
BOTH_WAYS = "The sigmas of this run both rise and fall, so "
RESTART = torch.tensor([10.0, 5.0, 2.0, 8.0, 3.0, 0.0])
wrong("a pattern too short", lambda kit: ksample(kit.schedule(pattern="1x2 2x2"), steps=5), SHORT)
wrong("a pattern too long", lambda kit: ksample(kit.schedule(pattern="1x2 2x2"), steps=3), SHORT.replace("5:", "3:"))
wrong(
    "a pattern too short for the start of a run",
    lambda kit: ksample(kit.schedule(pattern="1x2 2x2"), steps=8, last_step=6),
    SHORT.replace("5:", "6:"),
)
wrong(
    "a step for the end of a run",
    lambda kit: ksample(kit.schedule(splits="3", unit="step"), steps=5, start_step=2),
    "The split at step 3 counts from the start of the whole schedule, but this run is a later part of one whose steps"
    " are not known here: set unit to steps (a fraction of the whole), timestep or sigma.",
)
wrong(
    "a pattern of guiders too short",
    lambda kit: kit.guide(kit.guiders(pattern="1x3")),
    SHORT.replace("4 steps", "3 steps").replace("5:", "4:"),
)
wrong(
    "a sampler that is misspelt",
    lambda kit: kit.ksampler(sampler_name="dpmpp_2mm"),
    f"sampler_name must be one of the {len(comfy.samplers.KSampler.SAMPLERS)} that the node lists, got dpmpp_2mm:"
    " choose one of them, perhaps dpmpp_2m.",
)
wrong(
    "a scheduler there is not",
    lambda kit: kit.advanced(scheduler="xyz"),
    f"scheduler must be one of {', '.join(comfy.samplers.KSampler.SCHEDULERS)}, got xyz.",
)
wrong(
    "a switch that is neither",
    lambda kit: kit.advanced(add_noise="true"),
    "add_noise must be one of enable, disable, got true.",
)
wrong(
    "the same of leftover noise",
    lambda kit: kit.advanced(return_with_leftover_noise="yes"),
    "return_with_leftover_noise must be one of enable, disable, got yes.",
)
wrong("a split beyond the run", lambda kit: ksample(kit.schedule(splits="6", unit="step"), steps=5), BEYOND)
wrong("a fraction input beyond the run", lambda kit: kit.ksampler(fraction=6.0, unit="step"), BEYOND)
wrong("the same in the advanced node", lambda kit: kit.advanced(fraction=6.0, unit="step", start_at_step=2), BEYOND)
wrong(
    "a pattern for sigmas that rise and fall",
    lambda kit: kit.guide(kit.guiders(pattern="1x2 2x3"), RESTART),
    BOTH_WAYS + "a pattern of steps cannot be followed: clear the pattern and set unit to timestep or sigma.",
)
wrong(
    "a step for sigmas that rise and fall",
    lambda kit: kit.guide(kit.guiders(splits="2", unit="step"), RESTART),
    BOTH_WAYS + "its steps cannot be told apart by noise level: set unit to timestep or sigma.",
)

# Numbers and choices of the sampler nodes.
FRACTION = "fraction in unit steps is a fraction of the steps from 0 to 1, got 1.5: lower it, or set unit to step."
wrong("a fraction above 1", lambda kit: kit.ksampler(fraction=1.5), FRACTION)
wrong("a fraction above 1, advanced", lambda kit: kit.advanced(fraction=1.5), FRACTION)
wrong("a negative fraction", lambda kit: kit.ksampler(fraction=-0.1), "fraction must be zero or above, got -0.1.")
wrong(
    "a fraction that is not a number",
    lambda kit: kit.ksampler(fraction=float("nan")),
    "fraction must be zero or above, got nan.",
)
NUMBER = "fraction must be a number such as 0.4, got "
wrong("no fraction", lambda kit: kit.ksampler(fraction=None), NUMBER + "None.")
wrong("a fraction as words", lambda kit: kit.ksampler(fraction="half "), NUMBER + '"half".')
wrong("two fractions as text", lambda kit: kit.advanced(fraction="0.2 0.4"), NUMBER + '"0.2 0.4".')
wrong("a fraction that is true", lambda kit: kit.ksampler(fraction=True), NUMBER + "True.")
wrong(
    "half a step",
    lambda kit: kit.ksampler(fraction=2.5, unit="step"),
    "fraction in unit step must be whole numbers, got 2.5.",
)
wrong(
    "a timestep above 1",
    lambda kit: kit.ksampler(fraction=875.0, unit="timestep"),
    "fraction in unit timestep is a noise level t from 0 to 1, got 875: lower it, or set unit to sigma.",
)
UNIT = "unit must be one of steps, step, timestep, sigma, noise, got percent."
wrong("an unknown unit", lambda kit: kit.ksampler(unit="percent"), UNIT)
wrong("an unknown unit, advanced", lambda kit: kit.advanced(unit="percent"), UNIT)
MEMORY = "memory must be one of auto, keep, swap, got fast."
wrong("an unknown memory policy", lambda kit: kit.ksampler(memory="fast"), MEMORY)
wrong("an unknown memory policy, advanced", lambda kit: kit.advanced(memory="fast"), MEMORY)
wrong("an unknown memory policy of a schedule", lambda kit: kit.schedule(memory="fast"), MEMORY)
wrong("an unknown memory policy of guiders", lambda kit: kit.guiders(memory="fast"), MEMORY)
wrong("no memory policy", lambda kit: kit.schedule(memory=None), MEMORY.replace("fast", "None"))
wrong(
    "no splits",
    lambda kit: kit.schedule(splits=None),
    "splits must be text or a number, got None: write it, or connect an INT or a FLOAT.",
)
wrong(
    "no pattern",
    lambda kit: kit.guiders(pattern=None),
    "pattern must be text, got None: write it, or connect a STRING.",
)
wrong(
    "three models, one split",
    lambda kit: kit.schedule(model_4=kit.small),
    "3 models need 2 splits, got 1: edit splits, or connect as many models.",
)
wrong(
    "three guiders, one split",
    lambda kit: kit.guiders(guider_2=kit.guider()),
    "3 models need 2 splits, got 1: edit splits, or connect as many models.",
)

# Sockets that carry something else, or nothing.
MODEL = "not a MODEL: connect the output of a model loader."
GUIDER = "not a GUIDER: connect the output of a guider node such as CFGGuider or BasicGuider."
CONDITIONING = "not a CONDITIONING: connect the output of CLIP Text Encode or another conditioning node."
LATENT = "not a LATENT: connect the output of Empty Latent Image or VAE Encode."
wrong("no model", lambda kit: kit.ksampler(model=None), f"model is empty, {MODEL}")
wrong("no small model", lambda kit: kit.ksampler(small_model=None), f"small_model is empty, {MODEL}")
wrong("a text as small model", lambda kit: kit.advanced(small_model="tiny"), f"small_model is of type str, {MODEL}")
wrong("no final model", lambda kit: kit.schedule(final_model=None), f"final_model is empty, {MODEL}")
wrong("a latent as model", lambda kit: kit.schedule(model_1={"samples": 0}), f"model_1 is of type dict, {MODEL}")
wrong("a guider as model", lambda kit: kit.schedule(model_1=kit.guider()), f"model_1 is of type CFGGuider, {MODEL}")
wrong(
    "a network as model",
    lambda kit: kit.schedule(final_model=kit.large.model),
    f"final_model is of type BaseModel, {MODEL}",
)
wrong(
    "a third model that is none",
    lambda kit: kit.schedule(model_2=torch.zeros(1), splits="0.2 0.4"),
    f"model_2 is of type Tensor, {MODEL}",
)
wrong("no final guider", lambda kit: kit.guiders(final_guider=None), f"final_guider is empty, {GUIDER}")
wrong("a model as guider", lambda kit: kit.guiders(guider_1=kit.small), f"guider_1 is of type ModelPatcher, {GUIDER}")
wrong(
    "a list as guider", lambda kit: kit.guiders(final_guider=[kit.guider()]), f"final_guider is of type list, {GUIDER}"
)
wrong("no positive", lambda kit: kit.ksampler(positive=None), f"positive is empty, {CONDITIONING}")
wrong("a text as negative", lambda kit: kit.ksampler(negative="bad"), f"negative is of type str, {CONDITIONING}")
wrong(
    "a tensor as the small model's conditioning",
    lambda kit: kit.ksampler(small_positive=torch.zeros(1, 3, 5)),
    f"small_positive is of type Tensor, {CONDITIONING}",
)
wrong(
    "conditioning without its options",
    lambda kit: kit.advanced(small_negative=[[torch.zeros(1, 3, 5)]]),
    f"small_negative is of type list, {CONDITIONING}",
)
wrong("no latent", lambda kit: kit.ksampler(latent_image=None), f"latent_image is empty, {LATENT}")
wrong("a latent without samples", lambda kit: kit.advanced(latent_image={}), f"latent_image is of type dict, {LATENT}")
wrong(
    "an image as latent",
    lambda kit: kit.ksampler(latent_image=torch.zeros(1, 8, 8, 3)),
    f"latent_image is of type Tensor, {LATENT}",
)

# Latents of other families.
FAMILY = ": take the empty latent, or the VAE, of its family."
wrong(
    "a latent of Flux for SD 1.5",
    lambda kit: kit.ksampler(latent_image={"samples": torch.ones(1, 16, 4, 4)}),
    f"The latent has 16 channels, but model works on SD15 latents with 4{FAMILY}",
)
wrong(
    "a latent of SD 1.5 for Flux guiders",
    lambda kit: kit.guide(kit.guiders(final_guider=kit.guider(flux()), guider_1=kit.guider(flux()))),
    f"The latent has 4 channels, but final_guider works on Flux latents with 16{FAMILY}",
)
wrong(
    "a latent of three channels",
    lambda kit: ksample(kit.schedule(), latent=torch.ones(1, 3, 4, 4)),
    f"The latent has 3 channels, but final_model works on SD15 latents with 4{FAMILY}",
)


# Models of other latent formats.
def flux() -> Any:
    return gaussian_model(kind=ModelType.FLUX, latent_format=formats.Flux())


def unlike(name: str, small: str, large: str, small_format: Callable[[], Any], large_format: Callable[[], Any]) -> None:
    tail = ": stitched models must share one latent space, so choose a pair of one family."

    def run(kit: Kit) -> Any:
        return kit.ksampler(
            small_model=gaussian_model(latent_format=small_format()),
            model=gaussian_model(latent_format=large_format()),
        )

    wrong(f"{name}", run, f"small_model works on {small} latents, but model on {large}{tail}")


SD15, SDXL, SD3 = "SD15 (4 channels)", "SDXL (4 channels)", "SD3 (16 channels)"
FLUX, WAN, HUNYUAN = "Flux (16 channels)", "Wan21 (16 channels, video)", "HunyuanVideo (16 channels, video)"
unlike("SD 1.5 with Flux", SD15, FLUX, formats.SD15, formats.Flux)
unlike("Flux with SD 1.5", FLUX, SD15, formats.Flux, formats.SD15)
unlike("SD 1.5 with SDXL, of as many channels", SD15, SDXL, formats.SD15, formats.SDXL)
unlike("SD 1.5 of another scale", SD15, SD15, lambda: formats.SD15(0.13), formats.SD15)
unlike("SDXL with Playground 2.5", SDXL, "SDXL_Playground_2_5 (4 channels)", formats.SDXL, formats.SDXL_Playground_2_5)
unlike("SD3 with Flux, of as many channels", SD3, FLUX, formats.SD3, formats.Flux)
unlike("an image model with a video model", FLUX, WAN, formats.Flux, formats.Wan21)
unlike("two video models", HUNYUAN, WAN, formats.HunyuanVideo, formats.Wan21)
unlike("Wan 2.1 with Wan 2.2 5B", WAN, "Wan22 (48 channels, video)", formats.Wan21, formats.Wan22)
unlike("LTX-Video with Mochi", "LTXV (128 channels, video)", "Mochi (12 channels, video)", formats.LTXV, formats.Mochi)
unlike("Stable Cascade's stages", "SC_Prior (16 channels)", "SC_B (4 channels)", formats.SC_Prior, formats.SC_B)
wrong(
    "Flux in a schedule of SD 1.5",
    lambda kit: ksample(kit.schedule(model_2=flux(), splits="0.2 0.4")),
    f"model_2 works on {FLUX} latents, but final_model on {SD15}: stitched models must share one latent space, so"
    " choose a pair of one family.",
)
wrong(
    "a guider on Flux among SD 1.5",
    lambda kit: kit.guide(kit.guiders(guider_1=kit.guider(flux()))),
    f"guider_1 works on {FLUX} latents, but final_guider on {SD15}: stitched models must share one latent space, so"
    " choose a pair of one family.",
)

# Models of kinds that cannot be mixed.
KIND = ": these cannot share a sampling run, so choose two of one kind."


def image_to_image(model: Any) -> Any:
    """As the host's ModelSamplingDiscrete node makes it."""

    class Sampling(comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.IMG_TO_IMG):
        pass

    model = model.clone()
    model.add_object_patch("model_sampling", Sampling(model.model.model_config))
    return model


class IMG_TO_IMG_VELOCITY(comfy.model_sampling.CONST):  # noqa: N801
    """Of newer hosts' ModelSamplingAuraFlow: starts from the image, without noise."""

    def noise_scaling(self, sigma: Any, noise: Any, latent_image: Any, max_denoise: bool = False) -> Any:
        return latent_image


class NoiseBySize(comfy.model_sampling.CONST):
    """As SenseNova's: the larger the picture, the more noise."""

    def noise_scaling(self, sigma: Any, noise: Any, latent_image: Any, max_denoise: bool = False) -> Any:
        return super().noise_scaling(sigma, noise * noise.shape[-1], latent_image, max_denoise)


def flow_of(kind: type, model: Any) -> Any:
    class Sampling(comfy.model_sampling.ModelSamplingDiscreteFlow, kind):  # type: ignore[misc, valid-type]
        pass

    model = model.clone()
    model.add_object_patch("model_sampling", Sampling(model.model.model_config))
    return model


wrong(
    "Stable Cascade's denoiser in SD 1.5",
    lambda kit: kit.ksampler(small_model=gaussian_model(kind=ModelType.STABLE_CASCADE)),
    f"small_model is a model of kind STABLE_CASCADE and model of kind EPS{KIND}",
)
wrong(
    "an image-to-image model",
    lambda kit: kit.ksampler(small_model=gaussian_model(kind=ModelType.IMG_TO_IMG)),
    f"small_model is a model of kind IMG_TO_IMG and model of kind EPS{KIND}",
)
wrong(
    "a model made image-to-image by a node",
    lambda kit: kit.ksampler(model=image_to_image(kit.large)),
    f"small_model is a model of kind EPS and model of kind IMG_TO_IMG{KIND}",
)
wrong(
    "a model made image-to-image in a way of its own",
    lambda kit: kit.ksampler(small_model=flow_of(IMG_TO_IMG_VELOCITY, kit.small)),
    f"small_model is a model of kind IMG_TO_IMG_VELOCITY and model of kind EPS{KIND}",
)
wrong(
    "a model finishing image-to-image in a way of its own",
    lambda kit: kit.ksampler(model=flow_of(IMG_TO_IMG_VELOCITY, kit.large)),
    f"small_model is a model of kind EPS and model of kind IMG_TO_IMG_VELOCITY{KIND}",
)
wrong(
    "a model with noise by the size of the picture",
    lambda kit: kit.ksampler(small_model=flow_of(NoiseBySize, kit.small)),
    f"small_model is a model of kind NoiseBySize and model of kind EPS{KIND}",
)
wrong(
    "an image-to-image model among guiders",
    lambda kit: kit.guide(kit.guiders(guider_1=kit.guider(gaussian_model(kind=ModelType.IMG_TO_IMG)))),
    f"guider_1 is a model of kind IMG_TO_IMG and final_guider of kind EPS{KIND}",
)


# Conditioning of another text encoder.
def reading(width: int, key: str = "context_dim") -> Any:
    model = gaussian_model()
    model.model.model_config.unet_config[key] = width
    return model


def width_message(name: str, width: int, kind: str, found: int) -> str:
    return (
        f"{name} reads text of width {width}, but its {kind} conditioning has {found}: encode the prompt with the text"
        " encoder of that model, and give each model its own (small_positive and small_negative, or Stitch Guiders)."
    )


wrong(
    "a small model of another text encoder",
    lambda kit: kit.ksampler(small_model=reading(2048)),
    width_message("small_model", 2048, "positive", 5),
)
wrong(
    "conditioning of the small model at the large one",
    lambda kit: kit.ksampler(model=reading(4096, "context_in_dim")),
    width_message("model", 4096, "positive", 5),
)
wrong(
    "only the negative of another text encoder",
    lambda kit: kit.ksampler(small_model=reading(7), small_positive=conditioning(width=7)),
    width_message("small_model", 7, "negative", 5),
)
wrong(
    "a guider with conditioning of another text encoder",
    lambda kit: kit.guide(kit.guiders(guider_1=kit.guider(reading(2304, "cap_feat_dim")))),
    width_message("guider_1", 2304, "positive", 5),
)
wrong(
    "a schedule with a model of another text encoder",
    lambda kit: ksample(kit.schedule(model_1=reading(512, "text_dim"))),
    width_message("model_1", 512, "positive", 5),
)


# Real networks of the host, which say less about what they read.
@functools.cache
def real(name: str) -> Any:
    architecture = {"sd3": architectures.sd3(1, None), "wan": architectures.wan(128, 1)}[name]
    shapes = architecture.shapes()
    weights = dict(zip(shapes, architectures.random_weights(shapes, seed=1), strict=True))
    return comfy.sd.load_diffusion_model_state_dict(weights)


def pooled(conds: list[Any], width: int = 2048) -> list[Any]:
    return [[text, {**values, "pooled_output": torch.zeros(1, width)}] for text, values in conds]


def sixteen_channels(name: str, width: int, **changes: Any) -> dict[str, Any]:
    texts = {"positive": pooled(conditioning(width=width)), "negative": pooled(conditioning(width=width))}
    latent = {"samples": torch.zeros(1, 16, *([1] if name == "wan" else []), 4, 4)}
    return {"model": real(name), "small_model": real(name), "latent_image": latent, **texts, **changes}


def without_pooled(name: str, kind: str) -> str:
    message = width_message(name, 0, kind, 0)
    return message.replace("reads text of width 0", "reads the pooled form of the text too").replace(
        "has 0", "has none"
    )


wrong(
    "text of another width for SD3",
    lambda kit: kit.ksampler(**sixteen_channels("sd3", 2304)),
    width_message("small_model", 4096, "positive", 2304),
)
wrong(
    "text of another width for Wan",
    lambda kit: kit.ksampler(**sixteen_channels("wan", 768)),
    width_message("small_model", 4096, "positive", 768),
)
wrong(
    "text without its pooled form",
    lambda kit: kit.ksampler(**sixteen_channels("sd3", 4096, positive=conditioning(width=4096))),
    without_pooled("small_model", "positive"),
)
wrong(
    "text without its pooled form for the large model",
    lambda kit: kit.advanced(
        **sixteen_channels(
            "sd3",
            4096,
            negative=conditioning(width=4096),
            small_negative=pooled(conditioning(width=4096)),
        )
    ),
    without_pooled("model", "negative"),
)
wrong(
    "text without its pooled form in a guider",
    lambda kit: kit.guide(
        kit.guiders(final_guider=sd3_guider(pooled(conditioning(width=4096))), guider_1=sd3_guider()), channels=16
    ),
    without_pooled("guider_1", "positive"),
)


def sd3_guider(conds: list[Any] | None = None) -> Any:
    guider = comfy.samplers.CFGGuider(real("sd3"))
    guider.set_conds(*[conditioning(width=4096) if conds is None else conds] * 2)
    return guider


@pytest.fixture(scope="module")
def told() -> Iterator[dict[str, str]]:
    messages: dict[str, str] = {}
    yield messages
    sys.stdout.write(f"\n{len(messages)} wrong uses\n")
    for name, message in messages.items():
        sys.stdout.write(f"{name}: {message}\n")


@pytest.fixture(scope="module")
def kit(host_nodes: ModuleType) -> Iterator[Kit]:
    yield Kit(host_nodes.NODE_CLASS_MAPPINGS, gaussian_model(0.1, 0.5), gaussian_model(0.6, 0.9))
    real.cache_clear()


@pytest.fixture(scope="module")
def fresh_results(host_nodes: ModuleType) -> tuple[Tensor, Tensor, Tensor]:
    """Of models that never saw a wrong use."""
    return valid_runs(Kit(host_nodes.NODE_CLASS_MAPPINGS, gaussian_model(0.1, 0.5), gaussian_model(0.6, 0.9)))


def valid_runs(kit: Kit) -> tuple[Tensor, Tensor, Tensor]:
    """One run each surface."""
    return (
        kit.ksampler().result[0]["samples"],
        ksample(kit.schedule(), "dpmpp_2m", steps=5),
        kit.guide(kit.guiders()),
    )


def assert_next_run_is_fresh(kit: Kit, fresh: tuple[Tensor, Tensor, Tensor]) -> None:
    for found, expected in zip(valid_runs(kit), fresh, strict=True):
        assert torch.equal(found, expected)
    assert kit.small.model.current_patcher is None
    assert kit.large.model.current_patcher is None


def refusal(use: Callable[[], Any]) -> str:
    """What the StitchError says that `use` ends with. The host loads the pack under a name of its own: a class more."""
    errors = [module.StitchError for name, module in sys.modules.items() if name.endswith("tstitch.errors")]
    with pytest.raises(tuple(errors)) as raised:
        use()
    return str(raised.value)


def is_one_sentence(message: str) -> bool:
    return message.endswith(".") and "\n" not in message and ". " not in message


@pytest.mark.parametrize("name", USES)
def test_a_wrong_use_is_named_and_does_no_harm(
    name: str, kit: Kit, fresh_results: tuple[Tensor, Tensor, Tensor], told: dict[str, str]
) -> None:
    use, message = USES[name]
    calls = [len(model.model.diffusion_model.calls) for model in (kit.small, kit.large)]
    assert refusal(lambda: use(kit)) == message
    assert is_one_sentence(message)
    assert [len(model.model.diffusion_model.calls) for model in (kit.small, kit.large)] == calls, "nothing was sampled"
    assert_next_run_is_fresh(kit, fresh_results)
    told[name] = message


WRONG_TEXTS = [case for case in TEXTS if "error" in case and "steps" not in case]


@pytest.mark.parametrize("case", WRONG_TEXTS, ids=lambda case: case["name"])
def test_a_wrong_schedule_text_is_named_by_both_nodes(
    case: dict[str, Any], kit: Kit, fresh_results: tuple[Tensor, Tensor, Tensor], told: dict[str, str]
) -> None:
    texts = {key: case[key] for key in ("splits", "unit", "pattern")}
    more = range(2, case["stages"])
    uses: list[Callable[[], Any]] = [
        lambda: kit.schedule(**texts, **{f"model_{number}": kit.small for number in more}),
        lambda: kit.guiders(**texts, **{f"guider_{number}": kit.guider() for number in more}),
    ]
    for use in uses:
        assert refusal(use) == case["error"]
    assert is_one_sentence(case["error"])
    assert_next_run_is_fresh(kit, fresh_results)
    told[case["name"]] = case["error"]


#: What depends on how many models are connected is left to the run.
ABOUT_MODELS = ("models need", "are connected")


@pytest.mark.parametrize("node", ["TStitchModelSchedule", "TStitchGuiders"])
def test_a_wrong_text_is_refused_before_the_queue_starts(kit: Kit, node: str) -> None:
    for case in WRONG_TEXTS:
        answer = kit.nodes[node].validate_inputs(case["splits"], case["unit"], case["pattern"])
        if not any(part in case["error"] for part in ABOUT_MODELS):
            assert answer == case["error"]
    for case in TEXTS:
        if "owners" in case:
            assert kit.nodes[node].validate_inputs(case["splits"], case["unit"], case["pattern"]) is True


@pytest.mark.parametrize("node", ["TStitchKSampler", "TStitchKSamplerAdvanced"])
@pytest.mark.parametrize(
    ("fraction", "unit", "answer"),
    [
        (0.4, "steps", True),
        (8.0, "step", True),
        (None, "steps", True),
        (0.4, None, True),
        (1.5, "steps", FRACTION),
        (2.5, "step", "fraction in unit step must be whole numbers, got 2.5."),
        (0.4, "percent", UNIT),
    ],
)
def test_a_wrong_fraction_is_refused_before_the_queue_starts(
    kit: Kit, node: str, fraction: float | None, unit: str | None, answer: bool | str
) -> None:
    assert kit.nodes[node].validate_inputs(fraction, unit) == answer


def test_there_are_sixty_wrong_uses_and_more() -> None:
    assert len(USES) + len(WRONG_TEXTS) >= 60


def test_fitting_conditioning_of_each_model_is_accepted(kit: Kit) -> None:
    """The counterpart of the refusals above: own conditioning of the right width, or a network that tells none."""
    latent, *_ = kit.ksampler(
        small_model=reading(7), small_positive=conditioning(width=7), small_negative=conditioning(width=7)
    ).result
    assert torch.isfinite(latent["samples"]).all()
    projecting = reading(7)
    projecting.model.cc_projection = torch.nn.Identity()  # as Stable Zero123 has it
    assert torch.equal(
        kit.ksampler(small_model=projecting).result[0]["samples"],
        kit.ksampler(small_model=gaussian_model()).result[0]["samples"],
    )
    for name in ("sd3", "wan"):
        latent, *_ = kit.ksampler(**sixteen_channels(name, 4096)).result
        assert torch.isfinite(latent["samples"]).all()
    never_used = kit.ksampler(small_model=reading(2048), fraction=0.0).result[0]["samples"]
    assert torch.equal(never_used, kit.ksampler(fraction=0.0).result[0]["samples"])


# The starter files: missing, damaged, or something else under their name.
MISSING = (
    "The starter file {} is missing from the pack's models folder: reinstall the pack, or restore the file from its"
    " repository."
)
FOREIGN = (
    "The file {} holds no description of a starter model: reinstall the pack, or restore the file from its repository."
)


@pytest.fixture
def starter(host_nodes: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The starter loader, looking into an empty folder."""
    node = host_nodes.NODE_CLASS_MAPPINGS["TStitchLoadStarter"]
    module = sys.modules[sys.modules[node.__module__].load_starter.__module__]
    packed = module.FOLDER
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    return SimpleNamespace(
        load=lambda labels="all": node.execute("S", labels), node=node, packed=packed, folder=tmp_path
    )


def test_a_missing_starter_file_is_named(starter: SimpleNamespace) -> None:
    message = refusal(starter.load)
    assert message == MISSING.format("starter_s.safetensors")


def test_a_missing_starter_vae_is_named(starter: SimpleNamespace) -> None:
    (starter.folder / "starter_s.safetensors").write_bytes((starter.packed / "starter_s.safetensors").read_bytes())
    message = refusal(starter.load)
    assert message == MISSING.format("starter_vae.safetensors")


@pytest.mark.parametrize("kept", [0, 4, 100, 20000, -1], ids=lambda kept: f"{kept} bytes kept")
def test_a_cut_starter_file_is_named(starter: SimpleNamespace, kept: int) -> None:
    content = (starter.packed / "starter_s.safetensors").read_bytes()
    (starter.folder / "starter_s.safetensors").write_bytes(content[:kept])
    message = refusal(starter.load)
    assert message.startswith("The starter file starter_s.safetensors is damaged (")
    assert message.endswith("): reinstall the pack, or restore the file from its repository.")


def test_a_file_pointer_in_place_of_the_weights_is_damage(starter: SimpleNamespace) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    (starter.folder / "starter_s.safetensors").write_bytes(pointer)
    assert "is damaged" in refusal(starter.load)


def test_foreign_weights_under_a_starter_name_are_named(starter: SimpleNamespace) -> None:
    comfy.utils.save_torch_file({"weight": torch.zeros(1)}, str(starter.folder / "starter_s.safetensors"))
    message = refusal(starter.load)
    assert message == FOREIGN.format("starter_s.safetensors")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("", "labels is empty"),
        ("Hat", 'labels has "Hat", which is no class'),
        ("10", "labels has 10, but the classes are numbered 0 to 9."),
        ("-1", 'labels has "-1", which is no class'),
        ("1.5", 'labels has "1.5", which is no class'),
        ("Micah, Hat", 'labels has "Hat", which is no class'),
    ],
)
def test_a_wrong_label_is_refused_before_the_queue_starts(starter: SimpleNamespace, labels: str, message: str) -> None:
    answer = starter.node.validate_inputs(labels)
    assert answer.startswith(message)
    assert answer.endswith(".")


def test_wrong_uses_of_the_engine_itself_are_refused(kit: Kit) -> None:
    """Beside the nodes, for packs that build on it."""
    assert refusal(lambda: stitch_of(2, memory="disk")) == MEMORY.replace("fast", "disk")
    assert refusal(lambda: stitch_model(kit.large, [ModelStage(None)], stitch_of(2))) == f"model_1 is empty, {MODEL}"
    assert refusal(lambda: StitchedGuider(None, [kit.guider()], stitch_of(2))) == f"final_model is empty, {GUIDER}"
    assert refusal(lambda: stitched([kit.small, kit.large], pattern="3x1")).startswith("pattern names model 3")
