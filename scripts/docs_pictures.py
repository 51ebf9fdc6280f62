"""`python -m scripts.docs_pictures [NAME ...]`: the pictures in docs/chains.md and docs/pairs.md, from the real page.

An official template before and after "Stitch into one loop", drawn by both renderers, and T-Stitch Pairs on a folder of
files.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from comfy.cli_args import args
from PIL import Image, ImageDraw

from devtools.hosts import TEMPLATES
from scripts.browser import VUE_NODES, Box, ComfyPage, change_setting, running_browser, write_settings
from scripts.pictures import hide_everything_but_the_canvas
from scripts.server import free_port, running_server
from scripts.sheet import FAINT, font

DOCS = Path(__file__).resolve().parent.parent / "docs"
OFFICIAL = TEMPLATES.folder / "comfyui_workflow_templates_json" / "templates"
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Workflow.ShowMissingModelsWarning": False,
    "Comfy.Minimap.Visible": False,
    "LiteGraph.Canvas.MinFontSizeForLOD": 0,  # else the canvas leaves texts out of small nodes
}
WINDOW = (1600, 1500)
CORNER = (150, 130)  # of what is shown, free of the page's own bars
PAPER, HEADING, EDGE = "#ffffff", 32, 24  # of a picture: colour, and pixels
COLORS = 256
RENDERERS = {"classic": False, "nodes2": True}  # and whether it is Nodes 2.0


class Example(NamedTuple):
    template: str
    size: tuple[int, int]  # of one of both pictures, in pixels
    left_out: tuple[str, ...]  # types of nodes that say nothing here


EXAMPLES = {
    "sdxl": Example("sdxl_refiner_prompt_example", (1200, 560), ("Note", "MarkdownNote", "SaveImage")),
    "wan": Example(
        "video_wan2_2_14B_flf2v",
        (800, 780),
        ("Note", "MarkdownNote", "SaveVideo", "CreateVideo", "LoadImage", "VAELoader"),
    ),
}


@contextmanager
def opened_page(address: str, with_vue_nodes: bool) -> Iterator[ComfyPage]:
    """Without bars."""
    change_setting(address, VUE_NODES, with_vue_nodes)
    with running_browser() as browser:
        page = ComfyPage(browser.new_page(viewport={"width": WINDOW[0], "height": WINDOW[1]}), address)
        page.open()
        hide_everything_but_the_canvas(page)
        yield page


def shot(page: ComfyPage, box: Box) -> Image.Image:
    page.settle(3)
    clip = {"x": box.x, "y": box.y, "width": box.width, "height": box.height}
    return Image.open(io.BytesIO(page.page.screenshot(clip=clip))).convert("RGB")  # type: ignore[arg-type]


def before_and_after(page: ComfyPage, example: Example) -> Image.Image:
    """Both by one view: of the nodes that run and are not left out."""
    page.clear()
    page.load(json.loads((OFFICIAL / f"{example.template}.json").read_text(encoding="utf-8")))
    page.settle(3)
    before = shown_nodes(page, example)
    view = Box(*CORNER, *example.size)
    sampler = next(node for node, kind in before.items() if kind == "KSamplerAdvanced")
    page.check_changes()
    page.evaluate("id => app.canvas.selectItems([driver.locate(id)])", sampler)
    page.evaluate("() => app.extensionManager.command.execute('TStitch.StitchIntoLoop')")
    page.evaluate("() => app.canvas.deselectAll()")
    page.fit(shown_nodes(page, example), view)
    place = page.evaluate("() => [app.canvas.ds.scale, ...app.canvas.ds.offset]")
    after = shot(page, view)
    page.check_changes()
    page.undo()
    page.evaluate(
        "([scale, x, y]) => { const { ds } = app.canvas; [ds.scale, ds.offset[0], ds.offset[1]] = [scale, x, y]; }",
        place,
    )
    return beside(shot(page, view), after)


def shown_nodes(page: ComfyPage, example: Example) -> dict[str, str]:
    """Those that run and are not left out, with their types."""
    running = set(page.evaluate("() => app.graph.nodes.filter(({ mode }) => !mode).map(({ id }) => String(id))"))
    return {node: kind for node, kind in page.nodes().items() if node in running and kind not in example.left_out}


def beside(before: Image.Image, after: Image.Image) -> Image.Image:
    """One over the other, or side by side where they are as high as wide."""
    width, height = before.size
    over = width > 1.5 * height
    corners = [(0, HEADING), (0, height + 2 * HEADING) if over else (width + EDGE, HEADING)]
    size = (width, 2 * (height + HEADING)) if over else (2 * width + EDGE, height + HEADING)
    picture = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(picture)
    for (x, y), text, part in zip(corners, ("before", "after"), (before, after), strict=True):
        pen.text((x + 4, y - 8), text, FAINT, font(18), anchor="ls")
        picture.paste(part, (x, y))
    return picture


def pairs(page: ComfyPage) -> Image.Image:
    """All files, and those that go with one of them."""
    page.clear()
    for model, top, height in (("(all)", 0, 910), ("sd_xl_base_1.0.safetensors", 970, 250)):
        node = page.add("TStitchPairs", (0, top), model=model)
        text = page.add("PreviewAny", (300, top))
        page.evaluate("([id, size]) => driver.locate(id).setSize(size)", [text, [830, height]])
        page.connect(node, 0, text, "source")
    page.run()
    view = Box(*CORNER, 1100, 1230)
    page.fit(page.nodes(), view, 20)
    return shot(page, view)


def write(name: str, picture: Image.Image) -> None:
    path = DOCS / f"{name}.png"
    picture.quantize(COLORS, kmeans=1).save(path, optimize=True)
    print(f"{path.name}: {picture.width} x {picture.height}, {path.stat().st_size:,} bytes", flush=True)


def pictures_of(renderer: str) -> dict[str, Callable[[ComfyPage], Image.Image]]:
    """How each picture is taken, by its name."""
    taken: dict[str, Callable[[ComfyPage], Image.Image]] = {
        f"chain-{name}-{renderer}": partial(before_and_after, example=each) for name, each in EXAMPLES.items()
    }
    return taken if renderer == "nodes2" else {**taken, "pairs": pairs}


def take_all(address: str, wanted: list[str]) -> None:
    """All where none is named."""
    for renderer, with_vue_nodes in RENDERERS.items():
        pictures = {name: take for name, take in pictures_of(renderer).items() if not wanted or name in wanted}
        if pictures:
            with opened_page(address, with_vue_nodes) as page:
                for name, take in pictures.items():
                    write(name, take(page))


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts.docs_pictures", description=__doc__)
    parser.add_argument("names", nargs="*", help="such as chain-wan-nodes2; all pictures when none is given")
    parser.add_argument("--server", help="host:port of a ComfyUI that runs already with this pack and the model files")
    options = parser.parse_args()
    if options.server:
        take_all(options.server, options.names)
        return 0
    args.cpu = not torch.cuda.is_available()
    from tstitch_testing.model_folder import write_model_folder  # the host looks for its device when imported

    with tempfile.TemporaryDirectory(prefix="tstitch-pictures-") as folder:
        base = Path(folder)
        write_settings(base, SETTINGS)
        write_model_folder(base / "models" / "diffusion_models")
        with running_server(Path(os.environ["COMFYUI_PATH"]), base, free_port(), args.cpu) as server:
            take_all(server.address, options.names)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
