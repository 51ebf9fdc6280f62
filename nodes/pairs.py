"""T-Stitch Pairs: which of the user's model files go together."""

from __future__ import annotations

from comfy_api.latest import io

from ..tstitch.pairs.library import all_table, entry_of, file_times, model_names, pairs_table
from .inputs import CATEGORY, check_widgets, checked

ALL = "(all)"


class TStitchPairs(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TStitchPairs",
            display_name="T-Stitch Pairs",
            category=CATEGORY,
            description="Lists which of your model files go together: which read the same latents, which is small and"
            " which large, and what a pair saves. It reads the headers of the files only.",
            inputs=[
                io.Combo.Input(
                    "model",
                    options=[ALL, *model_names()],
                    tooltip="A model file, to see which others can join it; or all of them, by the latents they read."
                    " Files in models/diffusion_models and models/checkpoints are listed.",
                ),
            ],
            outputs=[
                io.String.Output(
                    display_name="pairs", tooltip="A table as text: show it with Preview as Text (Preview Any)."
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, model: str | None = None) -> bool | str:
        return checked(lambda: check_widgets(cls, model=model))

    @classmethod
    def fingerprint_inputs(cls, model: str) -> str:
        return file_times()

    @classmethod
    def execute(cls, model: str) -> io.NodeOutput:
        entries = [entry_of(name) for name in model_names()]
        text = all_table(entries) if model == ALL else pairs_table(entry_of(model), entries)
        return io.NodeOutput(text, ui={"text": [text]})


NODES = [TStitchPairs]
