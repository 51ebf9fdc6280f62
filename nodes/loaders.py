"""Loaders of models the host cannot load itself."""

from __future__ import annotations

from typing import Any

import folder_paths
import torch
from comfy_api.latest import io

from ..tstitch.errors import StitchError
from ..tstitch.families.bksdm import load_bksdm
from ..tstitch.families.dit_checkpoint import VARIANTS, read_dit
from ..tstitch.families.dit_model import build_dit
from ..tstitch.families.starter import STARTERS, load_starter, load_starter_vae
from ..tstitch.labels import FASHION_MNIST, ClassSet, class_inputs, imagenet_names
from .inputs import CATEGORY, checked

STARTER_CLASSES = ClassSet.of(len(FASHION_MNIST), FASHION_MNIST)
FOLDERS = ("diffusion_models", "checkpoints")  # of the host, in which people keep such files
WEIGHT_DTYPES = {
    "default": None,
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp8_e4m3fn": torch.float8_e4m3fn,
    "fp8_e5m2": torch.float8_e5m2,
}
NO_CLASS = "(none)"


def model_file_input(name: str) -> io.Combo.Input:
    files = dict.fromkeys(file for folder in FOLDERS for file in folder_paths.get_filename_list(folder))
    return io.Combo.Input(
        name,
        options=list(files),
        tooltip="A .safetensors, .pt, .pth or .bin file in models/diffusion_models or models/checkpoints. Pickled files"
        " are read without running code in them.",
    )


def model_path(name: str) -> str:
    for folder in FOLDERS:
        if path := folder_paths.get_full_path(folder, name):
            return path
    raise StitchError(f"The file {name} is in neither models/diffusion_models nor models/checkpoints.")


def weight_dtype_input() -> io.Combo.Input:
    return io.Combo.Input(
        "weight_dtype",
        options=list(WEIGHT_DTYPES),
        tooltip="default: what suits your device and the file. fp8 halves the memory of fp16 at a small loss.",
    )


class TStitchLoadStarter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TStitchLoadStarter",
            display_name="Load Starter Models",
            category=CATEGORY,
            description="Loads one of the small models that come with the pack (clothes of Fashion-MNIST, 28 x 28"
            " pixels), with all a sampler needs besides, so that stitching can be tried without a download.",
            inputs=[
                io.Combo.Input(
                    "model",
                    options=list(STARTERS),
                    tooltip="XL draws best, S is fastest. S-eps is an S that predicts noise as SD 1.5 does, where the"
                    " others are flow models as Flux: the two kinds can be stitched too.",
                ),
                io.String.Input(
                    "labels",
                    default="all",
                    tooltip="What to draw, one image each: names or numbers 0 to 9 with commas between, such as"
                    " Sneaker, Bag, 3; or all.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="MODEL"),
                io.Vae.Output(display_name="VAE"),
                io.Conditioning.Output(display_name="positive", tooltip="The labels."),
                io.Conditioning.Output(display_name="negative", tooltip="No label: for classifier-free guidance."),
                io.Latent.Output(display_name="LATENT", tooltip="An empty latent of 7 x 7 for each label."),
            ],
        )

    @classmethod
    def validate_inputs(cls, labels: str | None = None) -> bool | str:
        return labels is None or checked(lambda: STARTER_CLASSES.parse(labels))

    @classmethod
    def execute(cls, model: str, labels: str) -> io.NodeOutput:
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
            description="Loads a class-conditional diffusion transformer (DiT, SiT, REPA or Shortcut, of any size) for"
            " latents of the SD VAE. Draw with Class Label, decode with Load VAE and a VAE of SD 1.5, such as"
            " vae-ft-mse-840000.",
            inputs=[
                model_file_input("dit_name"),
                io.Combo.Input(
                    "prediction",
                    options=["auto", *VARIANTS],
                    tooltip="What the weights were trained to predict. auto tells REPA and Shortcut by their weights,"
                    " DiT (noise) and SiT (velocity) by the file's name only: if pictures stay noise, choose yourself."
                    " The output info says what was assumed.",
                ),
                io.Combo.Input(
                    "guidance_channels",
                    options=["auto", "three", "all"],
                    tooltip="Latent channels that cfg works on. three: as DiT and SiT were published, use it to compare"
                    " with their figures. all: as every other model here. auto: as the authors of the model do.",
                ),
                weight_dtype_input(),
                io.Int.Input(
                    "heads",
                    default=0,
                    min=0,
                    max=256,
                    tooltip="Attention heads, which no file tells. 0: as published (6, 12, 16, 16 for S, B, L, XL), or"
                    " one for each 64 of the width. Set it only for models trained with another number.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="MODEL"),
                io.String.Output(display_name="info", tooltip="Kind and size of the model, and what told its kind."),
            ],
        )

    @classmethod
    def execute(
        cls, dit_name: str, prediction: str, guidance_channels: str, weight_dtype: str, heads: int
    ) -> io.NodeOutput:
        weights = read_dit(model_path(dit_name), dit_name, prediction, heads)
        guided = {"auto": weights.variant.guided_channels, "three": 3, "all": None}[guidance_channels]
        return io.NodeOutput(build_dit(weights, guided, WEIGHT_DTYPES[weight_dtype]), weights.description)


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
    def execute(cls, unet_name: str, weight_dtype: str) -> io.NodeOutput:
        return io.NodeOutput(load_bksdm(model_path(unet_name), unet_name, WEIGHT_DTYPES[weight_dtype]))


class TStitchClassLabel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TStitchClassLabel",
            display_name="Class Label",
            category=CATEGORY,
            description="Says what a class-conditional model draws: one picture for each label.",
            inputs=[
                io.Model.Input("model", tooltip="Of Load DiT or Load Starter Models: it brings its list of classes."),
                io.String.Input(
                    "labels",
                    default="0",
                    tooltip="One picture each, with commas between: numbers, or names such as golden retriever. Part of"
                    " a name is enough where it fits one class only.",
                ),
                io.Combo.Input(
                    "imagenet_class",
                    options=[NO_CLASS, *(f"{number} {name}" for number, name in enumerate(imagenet_names()))],
                    tooltip="Adds one picture of an ImageNet class; type in the list to search it.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(display_name="positive", tooltip="The labels."),
                io.Conditioning.Output(display_name="negative", tooltip="No label: for classifier-free guidance."),
                io.Latent.Output(
                    display_name="LATENT",
                    tooltip="An empty latent for each label, of the size the model was trained for.",
                ),
            ],
        )

    @classmethod
    def execute(cls, model: Any, labels: str, imagenet_class: str) -> io.NodeOutput:
        if imagenet_class != NO_CLASS:
            labels = f"{labels}, {imagenet_class.split()[0]}"
        inputs = class_inputs(model, labels)
        return io.NodeOutput(inputs.positive, inputs.negative, inputs.latent)


NODES = [TStitchLoadStarter, TStitchLoadDiT, TStitchClassLabel, TStitchLoadBKSDM]
