"""Save Calibration and Load Calibration: what was measured, as a small file to share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io

from ..tstitch.errors import StitchError
from ..tstitch.files import write_whole
from ..tstitch.planning.calibration.record import Calibration
from ..tstitch.planning.calibration.views import views
from .calibration import OUTPUTS
from .inputs import CATEGORY, calibration_input, check_calibration, checked, tolerance_input

PREFIX = "tstitch/calibration"


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


def calibration_files() -> list[str]:
    """File names with the host's annotation: a plain name is in the input folder."""
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


NODES = [TStitchSaveCalibration, TStitchLoadCalibration]
