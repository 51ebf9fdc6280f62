"""Loaders of models the host cannot load itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import folder_paths
import torch
from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from ..tstitch.checks.choices import check_choice
from ..tstitch.errors import StitchError
from ..tstitch.families.bksdm import load_bksdm
from ..tstitch.families.class_labels import AVATAR_STYLES, ClassSet, class_inputs
from ..tstitch.families.ldm.model import load_ldm
from ..tstitch.families.shared.model_file import ModelFile
from ..tstitch.families.starter import STARTERS, load_starter, load_starter_vae
from ..tstitch.families.transformer import GUIDANCE_CHANNELS, PREDICTIONS, load_transformer
from .inputs import CATEGORY, check_widgets, checked

STARTER_CLASSES = ClassSet.of(len(AVATAR_STYLES), AVATAR_STYLES)
FOLDERS = ("diffusion_models", "checkpoints")  # of the host, in which people keep such files
WEIGHT_DTYPES = {
    "default": None,
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp8_e4m3fn": torch.float8_e4m3fn,
    "fp8_e5m2": torch.float8_e5m2,
}
FIRST_STAGE_FOLDERS = ("vae", *FOLDERS)
SAME_FILE = "(in the model's file)"
LDM_WEIGHTS = ("averaged", "raw")


def files_in(folders: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(file for folder in folders for file in folder_paths.get_filename_list(folder)))


def model_file_input(name: str) -> io.Combo.Input:
    return io.Combo.Input(
        name,
        options=files_in(FOLDERS),
        tooltip="A model file in models/diffusion_models or models/checkpoints. Pickled files (.ckpt, .pt, .bin ...)"
        " are read without running code in them.",
    )


def model_file(name: str, folders: Sequence[str] = FOLDERS) -> ModelFile:
    for folder in folders:
        if path := folder_paths.get_full_path(folder, name):
            return ModelFile(Path(path), name)
    *others, last = (f"models/{folder}" for folder in folders)
    raise StitchError(f"The file {name} is in neither {', '.join(others)} nor {last}.")


def check_file(name: str | None, folders: Sequence[str] = FOLDERS) -> None:
    """Before the run, in which None comes over a link. Raises StitchError."""
    if name is not None:
        model_file(name, folders)


def weight_dtype_input() -> io.Combo.Input:
    return io.Combo.Input(
        "weight_dtype",
        options=list(WEIGHT_DTYPES),
        tooltip="default: what suits your device and the file. fp8 halves the memory of fp16 at a small loss.",
    )


def weight_dtype_of(choice: str) -> torch.dtype | None:
    check_choice("weight_dtype", choice, WEIGHT_DTYPES)
    return WEIGHT_DTYPES[choice]


class TStitchLoadStarter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TStitchLoadStarter",
            display_name="Load Starter Models",
            category=CATEGORY,
            description="Loads one of the small models that come with the pack (avatars in ten styles, 64 x 64"
            " pixels), with all a sampler needs besides, so that stitching can be tried without a download.",
            inputs=[
                io.Combo.Input(
                    "model",
                    options=list(STARTERS),
                    tooltip="XL draws best, S is fastest. S-eps is an S that predicts noise as SD 1.5 does, where the"
                    " others are flow models as Flux: the two kinds can be stitched too. Shortcut draws in 1, 2 or 4"
                    " steps, with cfg 1.",
                ),
                io.String.Input(
                    "labels",
                    default="all",
                    tooltip="What to draw, one image each: names or numbers 0 to 9 with commas between, such as"
                    " Micah, Pixel Art, 3; or all.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="MODEL"),
                io.Vae.Output(display_name="VAE"),
                io.Conditioning.Output(display_name="positive", tooltip="The labels."),
                io.Conditioning.Output(display_name="negative", tooltip="No label: for classifier-free guidance."),
                io.Latent.Output(display_name="LATENT", tooltip="An empty latent of 16 x 16 for each label."),
            ],
        )

    @classmethod
    def validate_inputs(cls, labels: str | None = None, model: str | None = None) -> bool | str:
        return checked(lambda: labels is None or STARTER_CLASSES.parse(labels), lambda: check_widgets(cls, model=model))

    @classmethod
    def execute(cls, model: str, labels: str) -> io.NodeOutput:
        check_choice("model", model, STARTERS)
        patcher = load_starter(model)
        inputs = class_inputs(patcher, labels)
        return io.NodeOutput(patcher, load_starter_vae(), inputs.positive, inputs.negative, inputs.latent)


class TStitchLoadDiT(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TStitchLoadDiT",
            display_name="Load DiT",
            category=CATEGORY,
            description="Loads a class-conditional diffusion transformer (DiT, SiT, REPA, Shortcut or U-ViT, of any"
            " size) for latents of the SD VAE. Draw with Class Label, decode with Load VAE and a VAE of SD 1.5, such as"
            " vae-ft-mse-840000.",
            inputs=[
                model_file_input("dit_name"),
                io.Combo.Input(
                    "prediction",
                    options=list(PREDICTIONS),
                    tooltip="What the weights were trained to predict. auto detects REPA, Shortcut and U-ViT by"
                    " their weights, but DiT (noise) and SiT (velocity) only by the file name: if pictures stay"
                    " noise, choose it yourself. The output info says what was assumed.",
                ),
                io.Combo.Input(
                    "guidance_channels",
                    options=list(GUIDANCE_CHANNELS),
                    tooltip="Latent channels that cfg applies to. three: as published for DiT and SiT; use it to"
                    " compare with their figures. all: as for every other model. auto: as the authors of the model"
                    " do.",
                ),
                weight_dtype_input(),
                io.Int.Input(
                    "heads",
                    default=0,
                    min=0,
                    max=256,
                    tooltip="Number of attention heads, which is not stored in the file. 0: as published (6, 12,"
                    " 16, 16 for S, B, L, XL), otherwise one per 64 channels of width. Set it only for models"
                    " trained with another number.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="MODEL"),
                io.String.Output(display_name="info", tooltip="Model kind and size, and how the kind was detected."),
            ],
        )

    @classmethod
    def validate_inputs(
        cls,
        dit_name: str | None = None,
        prediction: str | None = None,
        guidance_channels: str | None = None,
        weight_dtype: str | None = None,
    ) -> bool | str:
        choices = {"prediction": prediction, "guidance_channels": guidance_channels, "weight_dtype": weight_dtype}
        return checked(lambda: check_file(dit_name), lambda: check_widgets(cls, **choices))

    @classmethod
    def execute(
        cls, dit_name: str, prediction: str, guidance_channels: str, weight_dtype: str, heads: int
    ) -> io.NodeOutput:
        check_choice("prediction", prediction, PREDICTIONS)
        check_choice("guidance_channels", guidance_channels, GUIDANCE_CHANNELS)
        dtype = weight_dtype_of(weight_dtype)
        return io.NodeOutput(*load_transformer(model_file(dit_name), prediction, guidance_channels, dtype, heads))


class TStitchLoadBKSDM(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TStitchLoadBKSDM",
            display_name="Load BK-SDM",
            category=CATEGORY,
            description="Loads BK-SDM Base, Small or Tiny: Stable Diffusion with blocks removed, a fast small model for"
            " every SD 1.4 or 1.5 model (the v2 files: for SD 2.1). Text encoder and VAE are those of the large model.",
            inputs=[model_file_input("unet_name"), weight_dtype_input()],
            outputs=[io.Model.Output(display_name="MODEL")],
        )

    @classmethod
    def validate_inputs(cls, unet_name: str | None = None, weight_dtype: str | None = None) -> bool | str:
        return checked(lambda: check_file(unet_name), lambda: check_widgets(cls, weight_dtype=weight_dtype))

    @classmethod
    def execute(cls, unet_name: str, weight_dtype: str) -> io.NodeOutput:
        return io.NodeOutput(load_bksdm(model_file(unet_name), weight_dtype_of(weight_dtype)))


class TStitchLoadLDM(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TStitchLoadLDM",
            display_name="Load LDM",
            category=CATEGORY,
            description="Loads a class-conditional latent diffusion model of ImageNet (LDM, LDM-S) from its original"
            " file, with its VAE and labels. LDM-S and LDM are the U-Net pair of the T-Stitch paper.",
            inputs=[
                model_file_input("ldm_name"),
                io.String.Input(
                    "labels",
                    default="207",
                    tooltip="What to draw, one picture per label, separated by commas: numbers, or names such as"
                    " golden retriever.",
                ),
                io.Combo.Input(
                    "first_stage",
                    options=[SAME_FILE, *files_in(FIRST_STAGE_FOLDERS)],
                    tooltip="Where the VAE is. Most files contain their own; choose another file, such as vq-f8,"
                    " for those that do not. The small model of a pair needs none.",
                ),
                io.Combo.Input(
                    "weights",
                    options=list(LDM_WEIGHTS),
                    tooltip="averaged: the moving average, which draws better, if the file has one. raw: the last"
                    " training step.",
                ),
                weight_dtype_input(),
                io.Int.Input(
                    "head_channels",
                    default=0,
                    min=0,
                    max=1024,
                    tooltip="Channels per attention head, which are not stored in the file. 0: as published (32, or"
                    " one head for models on latents of 3 channels). Set it only for models trained with another"
                    " number.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="MODEL"),
                io.Vae.Output(display_name="VAE"),
                io.Conditioning.Output(display_name="positive", tooltip="The labels."),
                io.Conditioning.Output(display_name="negative", tooltip="No label: for classifier-free guidance."),
                io.Latent.Output(display_name="LATENT", tooltip="An empty latent for each label."),
                io.String.Output(display_name="info", tooltip="Model kind and size."),
            ],
        )

    @classmethod
    def validate_inputs(
        cls,
        ldm_name: str | None = None,
        first_stage: str | None = None,
        weights: str | None = None,
        weight_dtype: str | None = None,
    ) -> bool | str:
        return checked(
            lambda: check_file(ldm_name),
            lambda: check_file(None if first_stage == SAME_FILE else first_stage, FIRST_STAGE_FOLDERS),
            lambda: check_widgets(cls, weights=weights, weight_dtype=weight_dtype),
        )

    @classmethod
    def execute(
        cls, ldm_name: str, labels: str, first_stage: str, weights: str, weight_dtype: str, head_channels: int
    ) -> io.NodeOutput:
        other = None if first_stage == SAME_FILE else model_file(first_stage, FIRST_STAGE_FOLDERS)
        check_choice("weights", weights, LDM_WEIGHTS)
        averaged, dtype = weights == "averaged", weight_dtype_of(weight_dtype)
        ldm = load_ldm(model_file(ldm_name), other, averaged, dtype, head_channels)
        inputs = class_inputs(ldm.model, labels)
        vae = ldm.vae or ExecutionBlocker(
            f"The file {ldm_name} holds no VAE: choose the file that does in first_stage."
        )
        return io.NodeOutput(ldm.model, vae, inputs.positive, inputs.negative, inputs.latent, ldm.description)


NODES = [TStitchLoadStarter, TStitchLoadDiT, TStitchLoadBKSDM, TStitchLoadLDM]
