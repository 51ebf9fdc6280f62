"""`python dev.py demo`: the shipped starter workflow in a real ComfyUI, for several fractions with one seed."""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from tqdm import tqdm

from scripts.client import Client, RunError, RunRecord
from scripts.server import Server, ServerError, choose_port, running_server
from scripts.sheet import Row, draw_sheet, table
from scripts.workflow import Json, WorkflowError, nodes_of_type, to_prompt, with_inputs
from tstitch.families.class_labels import AVATAR_STYLES

ROOT = Path(__file__).resolve().parent.parent
WORKFLOW = ROOT / "workflows" / "starter_tstitch.json"
SAMPLER = "TStitchKSampler"
WARM_UP_STEPS = 5
TURNS = 3  # of all fractions; the seconds are the median over them


def main() -> int:
    options = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is stopped
    try:
        workflow = read_workflow(options.workflow)
        with tempfile.TemporaryDirectory(prefix="tstitch-demo-") as base:
            rows, prompt = serve(options, workflow, Path(base))
    except (ServerError, WorkflowError, RunError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    save_sheet(options.out, rows, workflow, prompt)
    print(f"\n{table(rows)}\n\nThe pictures are in {options.out}")
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dev.py demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "demo.png", help="the picture to write (demo.png)")
    parser.add_argument("--port", type=int, help="the server's port (8188, or a free one if that is taken)")
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.0, 0.4, 1.0], help="(0 0.4 1)")
    parser.add_argument("--workflow", type=Path, default=WORKFLOW, help=f"a workflow with one {SAMPLER}")
    return parser.parse_args()


def read_workflow(path: Path) -> Json:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WorkflowError(f"The workflow {path} does not exist.") from None
    except ValueError as error:
        raise WorkflowError(f"The workflow {path} is not JSON: {error}.") from None


def serve(options: argparse.Namespace, workflow: Json, base: Path) -> tuple[list[Row], Json]:
    port = choose_port(options.port)
    cpu = not torch.cuda.is_available()
    print(f"Starting ComfyUI on the {'CPU' if cpu else 'GPU'}, port {port} ...", end="", flush=True)
    started = time.monotonic()
    with running_server(Path(os.environ["COMFYUI_PATH"]), base, port, cpu) as server:
        print(f" {time.monotonic() - started:.0f} s", flush=True)
        try:
            return asyncio.run(run_fractions(server, workflow, options.fractions))
        except OSError as error:  # aiohttp's connection errors are OSErrors
            raise server.error(f"ComfyUI went away during the demo ({error})") from error


async def run_fractions(server: Server, workflow: Json, fractions: list[float]) -> tuple[list[Row], Json]:
    async with Client(server.address) as client:
        known = await client.object_info()
        if SAMPLER not in known:
            raise server.error(f"ComfyUI could not import the pack: it has no node {SAMPLER}", "Cannot import")
        prompt = to_prompt(workflow, known)
        samplers = nodes_of_type(prompt, SAMPLER)
        if len(samplers) != 1:
            raise WorkflowError(f"The demo needs a workflow with one {SAMPLER}; this one has {len(samplers)}.")
        warm_up = with_inputs(prompt, samplers[0], fraction=0.4, steps=WARM_UP_STEPS)
        await run_with_bar(client, warm_up, samplers[0], "loading")
        records: dict[float, list[RunRecord]] = {fraction: [] for fraction in fractions}
        seed = prompt[samplers[0]]["inputs"]["seed"]
        for turn in range(TURNS):  # with a seed of its own: the host answers an equal prompt from its cache
            for fraction, kept in records.items():
                changed = with_inputs(prompt, samplers[0], fraction=fraction, seed=seed + turn)
                kept.append(await run_with_bar(client, changed, samplers[0], f"fraction {fraction:g}"))
        rows = []
        for fraction, kept in records.items():
            images = [await fetch(client, reference) for reference in kept[0].images()]
            rows.append(Row(fraction, median(record.seconds.get(samplers[0], 0.0) for record in kept), images))
        return rows, prompt


async def run_with_bar(client: Client, prompt: Json, sampler: str, label: str) -> RunRecord:
    with tqdm(desc=f"{label:<12}", total=int(prompt[sampler]["inputs"]["steps"]), unit="step") as bar:

        def on_progress(node: str, value: int, _: int) -> None:
            if node == sampler:
                bar.update(value - bar.n)

        return await client.run(prompt, on_progress)


async def fetch(client: Client, reference: dict[str, Any]) -> Image.Image:
    return Image.open(io.BytesIO(await client.image(reference)))


def column_names(images: int) -> list[str]:
    """The starter workflow draws one image of each class."""
    if images % len(AVATAR_STYLES) == 0:
        return list(AVATAR_STYLES)
    return [f"image {i + 1}" for i in range(images)]


def save_sheet(path: Path, rows: list[Row], workflow: Json, prompt: Json) -> None:
    """The picture also carries the workflow, so that it can be dragged into the page."""
    metadata = PngInfo()
    metadata.add_text("workflow", json.dumps(workflow))
    metadata.add_text("prompt", json.dumps(prompt))
    title = "T-Stitch: one seed, more and more of the early steps by the small model"
    draw_sheet(rows, column_names(len(rows[0].images)), title).save(path, pnginfo=metadata)


if __name__ == "__main__":
    sys.exit(main())
