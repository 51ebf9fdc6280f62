"""Class Label: what a class-conditional model draws."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..tstitch.checks.choices import check_choice
from ..tstitch.families.class_labels import check_imagenet, class_inputs, imagenet_names
from .inputs import CATEGORY, check_widgets, checked

NO_CLASS = "(none)"


def imagenet_choices() -> list[str]:
    return [NO_CLASS, *(f"{number} {name}" for number, name in enumerate(imagenet_names()))]


class TStitchClassLabel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TStitchClassLabel",
            display_name="Class Label",
            category=CATEGORY,
            description="Chooses what a class-conditional model draws: one picture per label.",
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="A model from Load DiT, Load LDM or Load Starter Models. It knows its list of classes.",
                ),
                io.String.Input(
                    "labels",
                    default="0",
                    tooltip="One picture per label, separated by commas: numbers, or names such as golden"
                    " retriever. Part of a name is enough if it fits only one class.",
                ),
                io.Combo.Input(
                    "imagenet_class",
                    options=imagenet_choices(),
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
    def validate_inputs(cls, imagenet_class: str | None = None) -> bool | str:
        return checked(lambda: check_widgets(cls, imagenet_class=imagenet_class))

    @classmethod
    def execute(cls, model: Any, labels: str, imagenet_class: str) -> io.NodeOutput:
        if imagenet_class != NO_CLASS:
            check_choice("imagenet_class", imagenet_class, imagenet_choices())
            check_imagenet("imagenet_class", imagenet_class, model)
            labels = f"{labels}, {imagenet_class.split()[0]}"
        inputs = class_inputs(model, labels)
        return io.NodeOutput(inputs.positive, inputs.negative, inputs.latent)


NODES = [TStitchClassLabel]
