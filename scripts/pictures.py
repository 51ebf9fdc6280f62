"""`python -m scripts.pictures`: the help pages' pictures, each node as the real page draws it.

Writes js/docs/<node id>.png and puts it under the heading of js/docs/<node id>.md where it is not there yet.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
from pathlib import Path

from PIL import Image

from scripts.browser import VUE_NODES, ComfyPage, change_setting, running_browser, write_settings
from scripts.server import free_port, running_server

DOCS = Path(__file__).resolve().parent.parent / "js" / "docs"
MARGIN = 24  # pixels around the node; the title is above its box
COLORS = 128
LOADER = "TStitchLoadStarter"
#: Files for the loaders to list, by the widget that shows them, below the base folder.
FILES = {
    "dit_name": "models/diffusion_models/DiT-XL-2-256x256.pt",
    "unet_name": "models/diffusion_models/bk-sdm-tiny.safetensors",
    "ldm_name": "models/checkpoints/ldm.ckpt",
    "file": "output/tstitch/calibration_00001_.json",
}
#: The starter model at each socket that gives a timeline a name.
STARTERS = {"model": "XL", "final_model": "XL", "small_model": "S", "model_1": "S"}


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts.pictures", description=__doc__)
    parser.add_argument("nodes", nargs="*", help="node ids; all that have a help page when none is given")
    parser.add_argument("--server", help="host:port of a ComfyUI that runs already with this pack")
    options = parser.parse_args()
    nodes = options.nodes or [page.stem for page in sorted(DOCS.glob("TStitch*.md"))]
    if options.server:
        take_all(options.server, nodes)
        return 0
    with tempfile.TemporaryDirectory(prefix="tstitch-pictures-") as name:
        base = Path(name)
        write_settings(base, {"Comfy.TutorialCompleted": True})
        for file in map(base.joinpath, FILES.values()):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        with running_server(Path(os.environ["COMFYUI_PATH"]), base, free_port(), True) as server:
            take_all(server.address, nodes)
    return 0


def take_all(address: str, nodes: list[str]) -> None:
    change_setting(address, VUE_NODES, False)
    with running_browser() as browser:
        page = ComfyPage(browser.new_context(viewport={"width": 1100, "height": 1000}).new_page(), address)
        page.open()
        hide_everything_but_the_canvas(page)
        for kind in nodes:
            take(page, kind)
            show_in_help(kind)


def hide_everything_but_the_canvas(page: ComfyPage) -> None:
    page.page.add_style_tag(
        content=".comfyui-body-top, .side-tool-bar-container, .p-panel, .minimap, .p-toast { display: none; }"
    )
    page.evaluate("() => { app.canvas.show_info = false; app.canvas.background_image = null; }")


def take(page: ComfyPage, kind: str) -> None:
    """The node, with a loader out of sight at the sockets that give a timeline its names."""
    page.clear()
    node = page.add(kind, (0, 0))
    for socket, starter in STARTERS.items():
        if socket in page.inputs(node).keys() - page.widgets(node).keys() and kind != LOADER:
            page.connect(page.add(LOADER, (-2000, 0), model=starter), 0, node, socket)
    for widget in page.widgets(node).keys() & FILES.keys():
        choices = page.evaluate("([id, name]) => driver.widget(id, name).options.values", [node, widget])
        for choice in choices:
            if Path(FILES[widget]).name in choice:
                page.set_widget(node, widget, choice)
    page.show(node)
    page.settle()
    x, y, width, height = page.box(node)
    data = page.page.screenshot(
        clip={"x": x - MARGIN, "y": y - MARGIN, "width": width + 2 * MARGIN, "height": height + 2 * MARGIN}
    )
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    picture.quantize(COLORS).save(DOCS / f"{kind}.png", optimize=True)


def show_in_help(kind: str) -> None:
    page = DOCS / f"{kind}.md"
    text = page.read_text(encoding="utf-8")
    if f"({kind}.png)" in text:
        return
    heading, rest = text.split("\n", 1)
    title = heading.removeprefix("# ").strip()
    page.write_text(f"{heading}\n\n![The node {title}]({kind}.png)\n{rest}", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
