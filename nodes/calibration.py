"""Calibrate: how far each model's predictions lie from the base model's; save and load what was measured."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io

from ..tstitch.errors import StitchError
from ..tstitch.files import write_whole
from ..tstitch.planning.calibration.measure import Settings, calibrate
from ..tstitch.planning.calibration.record import Calibration
from ..tstitch.planning.calibration.views import views
from .inputs import CATEGORY, check_widgets, checked, connected, measured_stages, numbered, small_inputs
from .samplers import step_inputs

CalibrationType = io.Custom("TSTITCH_CALIBRATION")
PREFIX = "tstitch/calibration"


def calibration_input(name: str = "calibration", optional: bool = False) -> io.Input:
    return CalibrationType.Input(
        name,
        optional=optional,
        tooltip="How far each model's predictions lie from the base model's, from Calibrate or Load Calibration.",
    )


def tolerance_input() -> io.Float.Input:
    return io.Float.Input(
        "tolerance",
        default=0.02,
        min=0.0,
        max=10.0,
        step=0.01,
        round=0.0001,
        tooltip="The split is the largest fraction of the steps, from the first one on, in each of which the small"
        " model's noise prediction differs from the base model's by this part of its size at most. Higher is faster and"
        " further from the base model; 0.02 is cautious.",
    )


OUTPUTS = [
    CalibrationType.Output(display_name="CALIBRATION", tooltip="For Plan and Save Calibration."),
    io.Image.Output(
        display_name="similarity",
        tooltip="Cosine similarity to the base model's prediction at each step, with the spread over the samples, and"
        " the error that the tolerance is held against.",
    ),
    io.Image.Output(
        display_name="frequencies", tooltip="How much coarse and fine detail the predictions hold at five noise levels."
    ),
    io.Float.Output(display_name="split", tooltip="The recommended fraction for model_1 to start with."),
    io.String.Output(display_name="report", tooltip="What was measured, the split and order for each model, in words."),
]


class TStitchCalibrate(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TStitchCalibrate",
            display_name="T-Stitch Calibrate",
            category=CATEGORY,
            description="Measures at each step how far the predictions of smaller models lie from the base model's, and"
            " recommends how many early steps to give away. Costs about one run of every model a seed.",
            inputs=[
                io.Model.Input(
                    "final_model",
                    tooltip="The base model, usually the largest. The others are compared"
                    " with it, on the trajectory that it samples.",
                ),
                io.Model.Input("model_1", tooltip="The model to calibrate, usually the one that will start."),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=True,
                    tooltip="The noise of the first run. Keep it fixed, or every queue calibrates again.",
                ),
                io.Int.Input(
                    "seeds",
                    default=3,
                    min=1,
                    max=1000,
                    tooltip="Number of runs to average over, with seeds that count up. More is steadier and slower;"
                    " every item of a batch counts as a sample too.",
                ),
                *step_inputs(
                    "As in the sampler: the predictions are compared at each step, so every model takes all of them"
                    " here.",
                    "As in the sampler. Those that choose their own noise levels, such as dpm_adaptive, cannot be"
                    " calibrated.",
                ),
                tolerance_input(),
                *numbered("model", io.Model, "model"),
                *small_inputs(),
            ],
            outputs=OUTPUTS,
        )

    @classmethod
    def validate_inputs(cls, sampler_name: str | None = None, scheduler: str | None = None) -> bool | str:
        return checked(lambda: check_widgets(cls, sampler_name=sampler_name, scheduler=scheduler))

    @classmethod
    def execute(
        cls,
        final_model: Any,
        model_1: Any,
        seed: int,
        seeds: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        positive: Any,
        negative: Any,
        latent_image: dict[str, Any],
        tolerance: float,
        model_2: Any = None,
        model_3: Any = None,
        model_4: Any = None,
        model_5: Any = None,
        model_6: Any = None,
        model_7: Any = None,
        small_positive: Any = None,
        small_negative: Any = None,
        small_cfg: float = 0.0,
    ) -> io.NodeOutput:
        models = connected("model", model_1, model_2, model_3, model_4, model_5, model_6, model_7)
        own = (small_positive, small_negative)
        stages = measured_stages(models, final_model, (positive, negative), own, cfg, small_cfg)
        settings = Settings(seed, seeds, steps, cfg, sampler_name, scheduler)
        found = calibrate(tuple(stages), list(stages.values()), latent_image, settings)
        return io.NodeOutput(found, *views(found, tolerance))


class TStitchSaveCalibration(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TStitchSaveCalibration",
            display_name="Save Calibration",
            category=CATEGORY,
            description="Writes a calibration into the output folder, as a small JSON file to share beside a workflow.",
            inputs=[
                calibration_input(),
                io.String.Input(
                    "filename_prefix",
                    default=PREFIX,
                    tooltip="Folder and first part of the file's name in the output folder; a number is added, so that"
                    " nothing is overwritten. Load Calibration lists what is saved under tstitch.",
                ),
            ],
            outputs=[io.String.Output(display_name="file", tooltip="The file's name below the output folder.")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, calibration: Any, filename_prefix: str) -> io.NodeOutput:
        check_calibration("calibration", calibration)
        path = saving_path(filename_prefix)
        name = os.path.relpath(path, folder_paths.get_output_directory()).replace(os.sep, "/")
        try:
            write_whole(path, calibration.to_json())
        except OSError as error:
            raise StitchError(f"The calibration cannot be written to {name} in the output folder: {error}.") from error
        return io.NodeOutput(name, ui={"text": [name]})


class TStitchLoadCalibration(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TStitchLoadCalibration",
            display_name="Load Calibration",
            category=CATEGORY,
            description="Reads a calibration that Save Calibration wrote, here or on another machine.",
            inputs=[
                io.Combo.Input(
                    "file",
                    options=calibration_files(),
                    tooltip="A .json file in the input folder, or in the folder tstitch of the output folder, where"
                    " Save Calibration puts it. Press R after adding one.",
                ),
                tolerance_input(),
            ],
            outputs=OUTPUTS,
        )

    @classmethod
    def validate_inputs(cls, file: str | None = None) -> bool | str:
        return file is None or checked(lambda: check_is_there(file))

    @classmethod
    def fingerprint_inputs(cls, file: str, tolerance: float) -> tuple[Any, ...]:
        path = loading_path(file)
        return file, tolerance, path.stat().st_mtime_ns if path.is_file() else None

    @classmethod
    def execute(cls, file: str, tolerance: float) -> io.NodeOutput:
        found = read_calibration(file)
        return io.NodeOutput(found, *views(found, tolerance))


def check_calibration(name: str, value: Any) -> None:
    if not isinstance(value, Calibration):
        raise StitchError(
            f"{name} is of type {type(value).__name__}, not a calibration: connect Calibrate or Load Calibration."
        )


def calibration_files() -> list[str]:
    """Annotated as the host does: a plain name is in the input folder."""
    inputs, outputs = Path(folder_paths.get_input_directory()), Path(folder_paths.get_output_directory())
    saved = outputs / os.path.dirname(PREFIX)
    found = [path.relative_to(inputs).as_posix() for path in inputs.glob("*.json")]
    return sorted(found) + sorted(f"{path.relative_to(outputs).as_posix()} [output]" for path in saved.glob("*.json"))


def loading_path(file: str) -> Path:
    """Raises StitchError for a name that leads out of the host's folders; links in them may."""
    elsewhere = StitchError(f"The file {file} lies outside of the input and output folders: choose one of the list.")
    try:
        path = Path(os.path.abspath(folder_paths.get_annotated_filepath(file)))
    except ValueError:  # newer hosts look themselves
        raise elsewhere from None
    folders = [folder_paths.get_input_directory(), folder_paths.get_output_directory()]
    if not any(path.is_relative_to(os.path.abspath(folder)) for folder in folders):
        raise elsewhere
    return path


def check_is_there(file: str) -> None:
    if not loading_path(file).is_file():
        raise StitchError(f"The file {file} is gone: choose another, or save it again.")


def saving_path(prefix: str) -> Path:
    """A new file in the output folder, by the host's own rules for names. Raises StitchError."""
    output, wanted = folder_paths.get_output_directory(), prefix.strip() or PREFIX
    if wanted.endswith(("/", os.sep)):  # a folder
        wanted += os.path.basename(PREFIX)
    try:
        # the host names files by the normal form of a path, but counts those that are there by the path as given
        folder, name, counter, _, _ = folder_paths.get_save_image_path(os.path.normpath(wanted), output)
    except OSError as error:
        raise StitchError(f"The folder of {prefix} cannot be made in the output folder: {error}.") from error
    except Exception as error:  # the host raises nothing narrower for a name that leads out
        raise StitchError(
            f'filename_prefix "{prefix}" leads out of the output folder: use a name such as {PREFIX}.'
        ) from error
    return Path(folder) / f"{name}_{counter:05}_.json"


def read_calibration(file: str) -> Calibration:
    path = loading_path(file)
    try:
        return Calibration.from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StitchError(f"The file {file} is gone: choose another, or save it again.") from None
    except UnicodeDecodeError:
        raise StitchError(f"The file {file} is no text, so it holds no calibration: choose another.") from None
    except StitchError as error:
        raise StitchError(f"{file}: {error}") from None


NODES = [TStitchCalibrate, TStitchSaveCalibration, TStitchLoadCalibration]
