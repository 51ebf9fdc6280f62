"""Stitch into one loop, as a person does it in the page."""

from __future__ import annotations

import io
import json
import re
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, expect

from devtools.hosts import TEMPLATES
from scripts.browser import ComfyPage
from scripts.server import Server

OFFICIAL = TEMPLATES.folder / "comfyui_workflow_templates_json" / "templates"
COMMAND = "Stitch into one loop"
Json = dict[str, Any]


def add_chain(page: ComfyPage, **second: object) -> tuple[str, str]:
    """Two advanced KSamplers on starter models, and a picture of what they draw."""
    small = page.add("TStitchLoadStarter", (0, 0), model="S", labels="Micah")
    large = page.add("TStitchLoadStarter", (0, 300), model="XL", labels="Micah")
    common = {"control_after_generate": "fixed", "steps": 6, "cfg": 2.0, "sampler_name": "euler", "scheduler": "simple"}
    first = {"noise_seed": 4, "end_at_step": 2, "return_with_leftover_noise": "enable", **common}
    one = page.add("KSamplerAdvanced", (400, 0), add_noise="enable", **first)
    start = {"add_noise": "disable", "noise_seed": 0, "start_at_step": 2, "return_with_leftover_noise": "disable"}
    other = page.add("KSamplerAdvanced", (800, 0), **{**common, **start, **second})
    decode = page.add("VAEDecode", (1200, 0))
    show = page.add("PreviewImage", (1200, 150))
    for sampler, loader in ((one, small), (other, large)):
        page.connect(loader, 0, sampler, "model")
        page.connect(large, 2, sampler, "positive")
        page.connect(large, 3, sampler, "negative")
    page.connect(large, 4, one, "latent_image")
    page.connect(one, 0, other, "latent_image")
    page.connect(other, 0, decode, "samples")
    page.connect(large, 1, decode, "vae")
    page.connect(decode, 0, show, "images")
    page.settle()
    page.check_changes()
    return one, other


def select(page: ComfyPage, *nodes: str) -> None:
    page.evaluate("ids => app.canvas.selectItems(ids.map(id => driver.locate(id)))", list(nodes))
    page.settle()


def start_stitching(page: ComfyPage, *nodes: str) -> None:
    """By the command, which does not end before its dialog is answered."""
    select(page, *nodes)
    page.evaluate("() => { void app.extensionManager.command.execute('TStitch.StitchIntoLoop'); }")
    page.settle()


def stitch(page: ComfyPage, *nodes: str) -> None:
    """Where nothing is asked."""
    select(page, *nodes)
    page.evaluate("() => app.extensionManager.command.execute('TStitch.StitchIntoLoop')")
    page.settle()


def dialog(page: ComfyPage) -> Locator:
    return page.page.locator("dialog.tstitch-dialog")


def graph_of(workflow: Json) -> Json:
    """What a person would say is in it."""
    nodes = {str(node["id"]): (node["type"], node.get("title"), node["mode"]) for node in workflow["nodes"]}
    sockets = {str(node["id"]): [slot["name"] for slot in node.get("inputs", [])] for node in workflow["nodes"]}
    links = {
        (str(origin), slot, str(target), sockets[str(target)][socket])
        for _, origin, slot, target, socket, _ in workflow["links"]
    }
    values = {str(node["id"]): node.get("widgets_values") or [] for node in workflow["nodes"]}
    return {"nodes": nodes, "links": links, "values": values}


def check_links(page: ComfyPage) -> None:
    """Every link is known at both ends, in the workflow and in its subgraphs.

    Nodes of types that the host does not know are left out: the page saves them as they were loaded.
    """
    workflow = page.workflow()
    known = set(page.evaluate("() => Object.keys(LiteGraph.registered_node_types)"))
    for graph in [workflow, *workflow.get("definitions", {}).get("subgraphs", [])]:
        nodes = [node for node in graph["nodes"] if node["type"] in known]
        missing = {node["id"] for node in graph["nodes"]} - {node["id"] for node in nodes}
        ids = {each["id"] for each in map(as_object, graph["links"]) if not missing & {each["from"], each["to"]}}
        read = {slot["link"] for node in nodes for slot in node.get("inputs", []) if slot.get("link") is not None}
        given = {link for node in nodes for slot in node.get("outputs", []) for link in slot.get("links") or []}
        inputs = {link for slot in graph.get("inputs", []) for link in slot.get("linkIds") or []}
        outputs = {link for slot in graph.get("outputs", []) for link in slot.get("linkIds") or []}
        assert ids <= (read | outputs) & (given | inputs)
        assert all(each["id"] in read | outputs or each["to"] in missing for each in map(as_object, graph["links"]))
        known_ids = {each["id"] for each in map(as_object, graph["links"])}
        assert (read | outputs | given | inputs) <= known_ids


def as_object(link: Any) -> Json:
    if isinstance(link, dict):
        return {"id": link["id"], "from": link["origin_id"], "to": link["target_id"]}
    return {"id": link[0], "from": link[1], "to": link[3]}


def picture(page: ComfyPage) -> np.ndarray:
    before = len(page.events("executed"))
    page.run()
    (images,) = [event["detail"]["output"]["images"] for event in page.events("executed")[before:]]
    (image,) = images
    with urllib.request.urlopen(f"http://{page.address}/view?{urllib.parse.urlencode(image)}", timeout=60) as answer:
        return np.asarray(Image.open(io.BytesIO(answer.read())).convert("RGB")).astype(int)


def assert_alike(one: np.ndarray, other: np.ndarray) -> None:
    assert one.std() > 10
    assert np.abs(one - other).max() <= 1


def test_a_chain_becomes_one_node_that_draws_the_same(page: ComfyPage, shot: Callable[[str], None]) -> None:
    _, other = add_chain(page)
    before, workflow = picture(page), page.workflow()
    shot("chain")
    stitch(page, other)
    shot("loop")
    kinds = list(page.nodes().values())
    assert kinds.count("TStitchKSamplerAdvanced") == 1
    assert "KSamplerAdvanced" not in kinds
    sampler = page.node_of_type("TStitchKSamplerAdvanced")
    values = page.widgets(sampler)
    assert {name: values[name] for name in ("noise_seed", "steps", "cfg", "fraction", "unit", "small_cfg")} == {
        "noise_seed": 4,
        "steps": 6,
        "cfg": 2,
        "fraction": 2,
        "unit": "step",
        "small_cfg": 0,
    }
    check_links(page)
    page.check_changes()
    page.undo()
    assert graph_of(page.workflow()) == graph_of(workflow)
    page.redo()
    assert "TStitchKSamplerAdvanced" in page.nodes().values()
    assert_alike(picture(page), before)


def test_the_menu_of_a_sampler_offers_it_where_a_chain_is(page: ComfyPage, renderer: str) -> None:
    one, _ = add_chain(page)
    alone = page.add("KSamplerAdvanced", (400, 600))
    #: Nodes 2.0 of older pages asks no extension for its menu, but shows our button in the bar over a chosen node.
    item = page.page.get_by_text(COMMAND, exact=True).or_(page.page.locator(".selection-toolbox .pi-link"))
    for node, offered in ((alone, False), (one, True)):
        page.show(node)
        box = page.box(node)
        page.page.mouse.click(box.x + box.width / 2, box.y + 14, button="right")
        if offered:
            expect(item.first).to_be_visible()
            item.first.click()
            page.wait_for("app.graph.nodes.some(node => node.type === 'TStitchKSamplerAdvanced')")
            return
        page.settle()
        expect(item).to_have_count(0)
        page.page.keyboard.press("Escape")
        page.page.mouse.click(5, 500)
        page.settle()


def test_differences_are_told_before_anything_changes(page: ComfyPage, shot: Callable[[str], None]) -> None:
    _, other = add_chain(page, add_noise="enable", steps=12, start_at_step=4)
    workflow = page.workflow()
    start_stitching(page, other)
    expect(dialog(page).locator("li")).to_have_count(3)
    expect(dialog(page)).to_contain_text("adds noise again")
    expect(dialog(page)).to_contain_text("6 steps")
    shot("differences")
    page.page.keyboard.press("Escape")
    expect(dialog(page)).to_have_count(0)
    start_stitching(page, other)
    dialog(page).get_by_role("button", name="Cancel").click()
    expect(dialog(page)).to_have_count(0)
    assert graph_of(page.workflow()) == graph_of(workflow)
    start_stitching(page, other)
    dialog(page).get_by_role("button", name="Do it all the same").click()
    page.wait_for("app.graph.nodes.some(node => node.type === 'TStitchKSamplerAdvanced')")
    assert page.widgets(page.node_of_type("TStitchKSamplerAdvanced"))["fraction"] == 4


def a_latent_changed_between(page: ComfyPage, one: str, other: str) -> None:
    upscale = page.add("LatentUpscaleBy", (800, 500))
    page.connect(one, 0, upscale, "samples")
    page.connect(upscale, 0, other, "latent_image")


def a_node_of_a_missing_pack_between(page: ComfyPage, one: str, other: str) -> None:
    a_latent_changed_between(page, one, other)
    workflow = page.workflow()
    (upscale,) = [node for node in workflow["nodes"] if node["type"] == "LatentUpscaleBy"]
    upscale["type"] = "NodeOfMissingPack"
    page.load(workflow)


def a_loop(page: ComfyPage, one: str, other: str) -> None:
    page.connect(other, 0, one, "latent_image")


def models_of_other_latents(page: ComfyPage, one: str, other: str) -> None:
    for sampler, name in ((one, "mochi"), (other, "hidream")):
        loader = page.add("UNETLoader", (0, 600), unet_name=f"{name}.safetensors")
        page.connect(loader, 0, sampler, "model")


@pytest.fixture
def model_files(server: Server) -> None:
    """Files that the host knows by one weight, of models with different latents."""
    folder = server.log.parent / "models" / "diffusion_models"
    folder.mkdir(parents=True, exist_ok=True)
    for name, key in (("mochi", "t5_yproj.weight"), ("hidream", "caption_projection.0.linear.weight")):
        header = json.dumps({key: {"dtype": "F16", "shape": [1], "data_offsets": [0, 2]}}).encode()
        (folder / f"{name}.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(2))


REFUSED = {
    a_latent_changed_between: "the latent is changed by “Upscale Latent By",
    a_node_of_a_missing_pack_between: "the latent is changed by “NodeOfMissingPack",
    a_loop: "goes round in a loop",
    models_of_other_latents: "on Mochi (12 channels, video) latents",
}


@pytest.mark.usefixtures("model_files")
@pytest.mark.parametrize("change", REFUSED, ids=lambda change: change.__name__)
def test_what_cannot_be_joined_is_said_in_one_sentence(
    page: ComfyPage, shot: Callable[[str], None], change: Callable[[ComfyPage, str, str], None]
) -> None:
    one, other = add_chain(page)
    change(page, one, other)
    workflow = page.workflow()
    start_stitching(page, other)
    expect(dialog(page).locator("li")).to_have_count(1)
    expect(dialog(page)).to_contain_text(REFUSED[change])
    shot(f"refused-{change.__name__}")
    dialog(page).get_by_role("button", name="Close").click()
    expect(dialog(page)).to_have_count(0)
    assert graph_of(page.workflow()) == graph_of(workflow)


def test_a_chain_inside_a_subgraph(page: ComfyPage, shot: Callable[[str], None]) -> None:
    one, other = add_chain(page)
    before = picture(page)
    page.evaluate(
        """ids => {
            const { node } = app.graph.convertToSubgraph(new Set(ids.map(id => driver.locate(id))));
            app.canvas.openSubgraph(node.subgraph, node);
        }""",
        [one, other],
    )
    page.settle(3)
    stitch(page)
    shot("subgraph")
    shown = page.evaluate("() => app.canvas.graph.nodes.map(node => node.type)")
    assert shown == ["TStitchKSamplerAdvanced"]
    check_links(page)
    page.evaluate("() => app.canvas.setGraph(app.graph.rootGraph ?? app.graph)")
    assert_alike(picture(page), before)


#: Official templates with a chain, what they become, and how many of it.
CHAINS = {
    "sdxl_simple_example": ("TStitchKSamplerAdvanced", 1),
    "video_wan2_2_14B_flf2v": ("TStitchKSamplerAdvanced", 2),
    "video_wan2_2_14B_i2v": ("TStitchKSamplerAdvanced", 1),
    "video_bernini_r_image_editing": ("TStitchModelSchedule", 1),
    "video_hunyuan_video_1.5_720p_i2v": ("TStitchGuiders", 1),
}


@pytest.mark.parametrize("name", CHAINS)
def test_an_official_template_is_converted_and_undone(page: ComfyPage, shot: Callable[[str], None], name: str) -> None:
    path = OFFICIAL / f"{name}.json"
    if not path.is_file():
        pytest.skip("python dev.py setup brings the templates")
    page.load(json.loads(path.read_text(encoding="utf-8")))
    page.settle(3)
    page.check_changes()
    page.evaluate(
        """() => {
            const holders = app.graph.nodes.filter(({ subgraph }) => subgraph);
            const isSampler = ({ type }) => /^(KSamplerAdvanced|SamplerCustom(Advanced)?)$/.test(type);
            const holder = holders.find(({ subgraph }) => subgraph.nodes.filter(isSampler).length > 1);
            if (holder) {
                app.canvas.openSubgraph(holder.subgraph, holder);
            }
        }"""
    )
    page.settle(3)
    before = page.workflow()
    red = red_nodes(page)
    page.evaluate("() => { void app.extensionManager.command.execute('TStitch.StitchIntoLoop'); }")
    page.settle()
    if dialog(page).count():
        dialog(page).get_by_role("button", name=re.compile("all the same")).click()
    kind, count = CHAINS[name]
    page.wait_for(
        "([kind, count]) => app.canvas.graph.nodes.filter(node => node.type === kind).length === count",
        argument=[kind, count],
    )
    page.settle(3)
    shot(name)
    check_links(page)
    assert red_nodes(page) <= red
    prompt = page.prompt()
    assert [node for node in prompt.values() if (node["class_type"] or "").startswith("TStitch")] or name.startswith(
        "video_hun"
    )
    page.check_changes()
    page.undo()
    assert graph_of(page.workflow()) == graph_of(before)


def red_nodes(page: ComfyPage) -> set[str]:
    """Those of the graph that is shown."""
    return set(
        page.evaluate("() => app.canvas.graph.nodes.filter(node => node.has_errors).map(({ id }) => String(id))")
    )
