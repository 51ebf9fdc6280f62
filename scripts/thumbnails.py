"""`python -m scripts.thumbnails [NAME ...]`: writes the picture beside each workflow, which the template browser shows.

Of a workflow that needs no download, the pictures of a real run; of another, the opened graph.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
import tempfile
from pathlib import Path

import torch
from PIL import Image

from scripts.browser import Box, ComfyPage, running_browser, write_settings
from scripts.client import Client
from scripts.server import Server, free_port, running_server
from scripts.workflow import Json, to_prompt

FOLDER = Path(__file__).resolve().parent.parent / "workflows"
WIDTH, GAP, COLUMNS = 480, 4, 5  # pixels
PAPER = "#202020"
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Workflow.ShowMissingModelsWarning": False,
    "Comfy.Minimap.Visible": False,
}
WINDOW = (2100, 1500)
VIEW = Box(90, 130, 1950, 1300)  # of the window, free of the page's own bars
LEFT_OUT = ["MarkdownNote", "SaveImage", "SaveVideo"]  # large and empty


def needs_download(workflow: Json) -> bool:
    return any(node["properties"].get("models") for node in workflow["nodes"])


async def pictures_of_run(server: Server, workflow: Json) -> list[Image.Image]:
    async with Client(server.address) as client:
        record = await client.run(to_prompt(workflow, await client.object_info()), lambda *_: None)
        return [Image.open(io.BytesIO(await client.image(reference))) for reference in record.images()]


def sheet(pictures: list[Image.Image]) -> Image.Image:
    """The pictures in rows of five, or a single one, as wide as a thumbnail; of several sizes, the largest ones."""
    largest = max((picture.size for picture in pictures), key=lambda size: size[0] * size[1])
    pictures = [picture for picture in pictures if picture.size == largest]
    columns = min(COLUMNS, len(pictures))
    width = (WIDTH - GAP * (columns + 1)) // columns
    height = width * pictures[0].height // pictures[0].width
    rows = -(-len(pictures) // columns)
    drawn = Image.new("RGB", (WIDTH, rows * (height + GAP) + GAP), PAPER)
    for number, picture in enumerate(pictures):
        corner = (GAP + number % columns * (width + GAP), GAP + number // columns * (height + GAP))
        drawn.paste(picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS), corner)
    return drawn


def graph_in_page(page: ComfyPage, workflow: Json, folder: Path) -> Image.Image:
    page.load(workflow)
    page.fit([node for node, kind in page.nodes().items() if kind not in LEFT_OUT], VIEW)
    shot = Image.open(page.screenshot(folder / "shot.png", VIEW)).convert("RGB")
    return shot.resize((WIDTH, round(WIDTH * VIEW.height / VIEW.width)), Image.Resampling.LANCZOS)


def write(name: str, picture: Image.Image) -> None:
    picture.save(FOLDER / f"{name}.jpg", quality=82, optimize=True)
    print(f"{name}.jpg: {picture.width} x {picture.height}", flush=True)


def main() -> int:
    names = sys.argv[1:] or sorted(path.stem for path in FOLDER.glob("*.json"))
    workflows = {name: json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")) for name in names}
    with tempfile.TemporaryDirectory(prefix="tstitch-thumbnails-") as folder:
        base = Path(folder)
        write_settings(base, SETTINGS)
        host = Path(os.environ["COMFYUI_PATH"])
        with running_server(host, base, free_port(), cpu=not torch.cuda.is_available()) as server:
            for name in [name for name in names if not needs_download(workflows[name])]:
                write(name, sheet(asyncio.run(pictures_of_run(server, workflows[name]))))
            shown = [name for name in names if needs_download(workflows[name])]
            if shown:
                with running_browser() as browser:
                    page = ComfyPage(
                        browser.new_page(viewport={"width": WINDOW[0], "height": WINDOW[1]}), server.address
                    )
                    page.open()
                    for name in shown:
                        write(name, graph_in_page(page, workflows[name], base))
    return 0


if __name__ == "__main__":
    sys.exit(main())
