"""Loaders of models the host cannot load itself."""

from __future__ import annotations

from comfy_api.latest import io

from ..tstitch.families.starter import STARTERS, load_starter, load_starter_vae
from ..tstitch.labels import class_conditioning, parse_labels
from .inputs import CATEGORY, checked


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
        return labels is None or checked(lambda: parse_labels(labels))

    @classmethod
    def execute(cls, model: str, labels: str) -> io.NodeOutput:
        indices = parse_labels(labels)
        starter = load_starter(model)
        positive, negative = class_conditioning(indices, starter.classes)
        return io.NodeOutput(
            starter.patcher, load_starter_vae(), positive, negative, starter.empty_latent(len(indices))
        )


NODES = [TStitchLoadStarter]
