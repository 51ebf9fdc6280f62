"""The timeline: drawn from the ordinary widgets, edited by pointer and keyboard, and never saved."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from scripts.browser import ComfyPage

KINDS = ("TStitchKSampler", "TStitchKSamplerAdvanced", "TStitchModelSchedule", "TStitchGuiders")
WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
STEPS = 20
MUTED, BYPASSED = 2, 4
SET_MODE = "([id, mode]) => { driver.locate(id).mode = mode; }"


#: Where the bar is once the page has let it lie for two frames: it moves as the node or the view changes.
AT_REST = """async (bar) => {
  const place = () => { const { x, y, width, height } = bar.getBoundingClientRect(); return [x, y, width, height]; };
  for (let last = "", still = 0; still < 2; ) {
    await new Promise(requestAnimationFrame);
    still = String(place()) === last ? still + 1 : 0;
    last = String(place());
  }
  return place();
}"""


class Timeline:
    """The only timeline on the page, used as a person does; places on the bar are counted in steps."""

    def __init__(self, page: ComfyPage, node: str, steps: int = STEPS) -> None:
        self.page, self.node, self.steps = page, node, steps
        page.show(node, 1.5)
        self.mouse, self.keyboard = page.page.mouse, page.page.keyboard

    def find(self, name: str) -> Locator:
        return self.page.page.locator(f".tstitch-timeline .tstitch-{name}")

    def point(self, step: float) -> tuple[float, float]:
        x, y, width, height = self.find("bar").evaluate(AT_REST)
        return x + width * step / self.steps, y + height / 2

    def drag(self, start: float, stop: float, away: float = 0) -> None:
        (x, y), (to, _) = self.point(start), self.point(stop)
        self.mouse.move(x, y)
        self.mouse.down()
        self.mouse.move((x + to) / 2, y + away / 2)
        self.mouse.move(to, y + away)
        self.mouse.up()

    def double_click(self, step: float) -> None:
        self.mouse.dblclick(*self.point(step))

    @property
    def status(self) -> str:
        return self.find("left").inner_text()

    def expect_handles(self, *steps: int) -> None:
        handles = self.find("handle")
        expect(handles).to_have_count(len(steps))
        for index, step in enumerate(steps):
            expect(handles.nth(index)).to_have_attribute("aria-valuenow", str(step))

    def expect_texts(self, **texts: object) -> None:
        values = self.page.widgets(self.node)
        assert {name: values[name] for name in texts} == texts

    @property
    def undo_entries(self) -> int:
        tracker = "app.extensionManager.workflow.activeWorkflow.changeTracker"
        return self.page.evaluate(f"() => {tracker}.undoQueue.length")

    def undo(self) -> None:
        self.keyboard.press("Control+z")
        self.page.settle(2)


@pytest.fixture
def sampler(page: ComfyPage) -> Timeline:
    """T-Stitch KSampler with both starter models."""
    node = page.add("TStitchKSampler", (400, 50), steps=STEPS)
    for model, socket in (("S", "small_model"), ("XL", "model")):
        page.connect(page.add("TStitchLoadStarter", (50, 50), model=model), "MODEL", node, socket)
    page.load(page.workflow())  # from here on the page knows a state to undo to
    return Timeline(page, node)


@pytest.fixture
def schedule(page: ComfyPage) -> Timeline:
    """Three models into Multi-Model Schedule, and that into a stock KSampler."""
    node = page.add("TStitchModelSchedule", (400, 50), splits="0.3, 0.6")
    for model, socket in (("XL", "final_model"), ("S", "model_1"), ("B", "model_2")):
        page.connect(page.add("TStitchLoadStarter", (50, 50), model=model), "MODEL", node, socket)
        page.settle()  # the next socket appears
    page.connect(node, "MODEL", page.add("KSampler", (800, 50), steps=STEPS), "model")
    page.load(page.workflow())
    return Timeline(page, node)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_last_widget_and_never_saved(page: ComfyPage, kind: str) -> None:
    node = page.add(kind)
    Timeline(page, node)
    expect(page.page.locator(".tstitch-timeline")).to_be_visible()
    last = page.evaluate("id => { const w = driver.locate(id).widgets.at(-1); return [w.name, w.serialize]; }", node)
    assert last == ["tstitch_timeline", False]
    (saved,) = page.workflow()["nodes"]
    others = page.evaluate("id => driver.locate(id).widgets.slice(0, -1).map(widget => widget.value)", node)
    assert saved["widgets_values"] == others
    assert "tstitch_timeline" not in page.prompt()[node]["inputs"]


def test_a_drag_writes_the_fraction_and_is_one_step_of_undo(sampler: Timeline) -> None:
    sampler.expect_handles(8)
    sampler.drag(8, 12.2)
    sampler.expect_texts(fraction=0.6)
    sampler.expect_handles(12)
    sampler.undo()
    sampler.expect_texts(fraction=0.4)
    sampler.expect_handles(8)
    sampler.drag(8, 4)  # Nodes 2.0 keeps the old node's elements after an undo
    sampler.expect_texts(fraction=0.2)
    sampler.expect_handles(4)


@pytest.mark.parametrize(("unit", "value"), [("steps", 0.42), ("timestep", 0.83)])
def test_a_click_on_a_handle_changes_nothing(sampler: Timeline, unit: str, value: float) -> None:
    sampler.page.set_widget(sampler.node, "unit", unit)
    sampler.page.set_widget(sampler.node, "fraction", value)
    sampler.page.check_changes()
    entries = sampler.undo_entries
    handle = sampler.find("handle")
    expect(handle).to_have_attribute("aria-valuetext", re.compile(rf"^{value}, "))
    box = handle.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 2
    sampler.mouse.move(x, y)
    sampler.mouse.down()
    sampler.mouse.move(x + 2, y + 1)  # no hand is steady
    sampler.mouse.up()
    expect(handle).to_be_focused()
    sampler.expect_texts(fraction=value)
    sampler.page.settle(2)
    assert sampler.undo_entries == entries


def test_a_handle_that_is_gripped_at_its_side_does_not_jump(sampler: Timeline) -> None:
    sampler.drag(8.3, 12.6)
    sampler.expect_handles(12)


def test_escape_takes_a_drag_back(sampler: Timeline) -> None:
    sampler.mouse.move(*sampler.point(8))
    sampler.mouse.down()
    sampler.mouse.move(*sampler.point(14))
    sampler.expect_handles(14)
    sampler.keyboard.press("Escape")
    sampler.mouse.up()
    sampler.expect_texts(fraction=0.4)
    sampler.expect_handles(8)


def test_a_second_finger_does_not_disturb_a_drag(schedule: Timeline) -> None:
    touch = schedule.page.page.context.new_cdp_session(schedule.page.page)

    def finger(kind: str, *steps: float) -> None:
        points = [dict(zip("xy", schedule.point(step), strict=True)) for step in steps]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    schedule.mouse.move(*schedule.point(6))
    schedule.mouse.down()
    schedule.mouse.move(*schedule.point(8))
    finger("touchStart", 12)
    finger("touchMove", 16)
    finger("touchEnd")
    schedule.expect_handles(8, 12)
    schedule.mouse.move(*schedule.point(9))
    schedule.mouse.up()
    schedule.expect_handles(9, 12)
    schedule.undo()
    schedule.expect_texts(splits="0.3, 0.6")
    schedule.expect_handles(6, 12)


def test_delete_on_the_split_of_a_sampler_leaves_the_node(sampler: Timeline) -> None:
    sampler.page.evaluate("id => app.canvas.selectItems([driver.locate(id)])", sampler.node)
    for key in ("Delete", "Backspace"):
        sampler.find("handle").click()
        sampler.keyboard.press(key)
        sampler.page.settle()
        assert sampler.node in sampler.page.nodes()


def test_the_one_split_of_a_sampler_can_be_neither_removed_nor_doubled(sampler: Timeline) -> None:
    sampler.drag(8, 10, away=150)
    sampler.double_click(15)
    sampler.expect_texts(fraction=0.5)
    sampler.expect_handles(10)


@pytest.mark.parametrize("kind", KINDS)
def test_the_tooltip_tells_what_the_bar_can_do(page: ComfyPage, kind: str) -> None:
    line = Timeline(page, page.add(kind))
    expect(line.find("bar")).to_have_attribute("title", re.compile("^Drag a handle to move a split"))
    adds = "Double click adds a split" in str(line.find("bar").get_attribute("title"))
    assert adds == (kind in ("TStitchModelSchedule", "TStitchGuiders"))


def test_keys_move_a_split(schedule: Timeline) -> None:
    handle = schedule.find("handle").first
    expect(handle).to_have_attribute("role", "slider")
    expect(handle).to_have_attribute("aria-label", "Split between S and B")
    handle.focus()
    for key, splits in {
        "ArrowRight": "0.35, 0.6",
        "Shift+ArrowLeft": "0.349, 0.6",
        "End": "0.6, 0.6",
        "Home": "0, 0.6",
        "Delete": "0.6",
    }.items():
        schedule.keyboard.press(key)
        schedule.expect_texts(splits=splits)
    assert schedule.node in schedule.page.nodes(), "Delete is the handle's, not the node's"


def test_shift_moves_without_snapping(schedule: Timeline) -> None:
    schedule.keyboard.down("Shift")
    schedule.drag(6, 8.26)
    schedule.keyboard.up("Shift")
    first = float(schedule.page.widgets(schedule.node)["splits"].split(",")[0])
    assert abs(first - 0.413) <= 0.004
    assert first not in (0.4, 0.45)


def test_a_split_is_dragged_out_and_comes_back_by_double_click(schedule: Timeline) -> None:
    schedule.drag(12, 12, away=150)
    schedule.expect_texts(splits="0.3")
    expect(schedule.find("message")).to_have_text(
        "3 models need 2 splits, got 1: edit splits, or connect as many models."
    )
    assert schedule.status == "double click the bar to add a split"
    schedule.double_click(15)
    schedule.expect_texts(splits="0.3, 0.75")
    schedule.expect_handles(6, 15)
    schedule.double_click(3)  # every model has its split
    schedule.expect_texts(splits="0.3, 0.75")


def test_painting_writes_a_pattern(schedule: Timeline) -> None:
    schedule.keyboard.down("Alt")
    schedule.drag(0.5, 2.5)
    schedule.keyboard.up("Alt")
    schedule.expect_texts(pattern="2x3 1x3 2x6 3x8", splits="0.3, 0.6")
    schedule.find("chip").nth(2).click()
    expect(schedule.find("chip").nth(2)).to_have_attribute("aria-pressed", "true")
    schedule.drag(4.5, 3.5)
    schedule.expect_texts(pattern="2x3 3x2 1x1 2x6 3x8")
    schedule.find("chip").nth(2).click()
    schedule.drag(3, 1)
    schedule.expect_texts(pattern="2x1 3x4 1x1 2x6 3x8")
    schedule.undo()
    schedule.expect_texts(pattern="2x3 3x2 1x1 2x6 3x8")
    schedule.find("clear").click()
    schedule.expect_texts(pattern="", splits="0.3, 0.6")
    schedule.expect_handles(6, 12)


def test_a_usual_order_is_written_into_the_pattern(schedule: Timeline) -> None:
    page, node = schedule.page, schedule.node
    schedule.find("orders").select_option(label="large, small, large")
    schedule.expect_texts(pattern="3x4 1x4 2x4 3x8", splits="0.3, 0.6")
    schedule.find("orders").select_option(label="small, large")
    schedule.expect_texts(pattern="1x4 2x4 3x12")
    schedule.undo()
    schedule.expect_texts(pattern="3x4 1x4 2x4 3x8")
    page.connect(page.add("PrimitiveString", (50, 500), value="1x5 3x15"), 0, node, "pattern")
    expect(schedule.find("orders")).to_be_hidden()


def test_a_brush_ends_with_its_model(schedule: Timeline) -> None:
    schedule.find("chip").nth(2).click()
    schedule.page.disconnect(schedule.node, "model_2")
    schedule.page.set_widget(schedule.node, "splits", "0.4")
    expect(schedule.find("chip")).to_have_count(2)
    schedule.drag(2.5, 4.5)
    schedule.expect_texts(pattern="", splits="0.4")


@pytest.mark.parametrize("mode", [MUTED, BYPASSED])
def test_a_model_that_is_not_sent_is_not_drawn(schedule: Timeline, mode: int) -> None:
    page = schedule.page
    loader = page.prompt()[schedule.node]["inputs"]["model_2"][0]
    page.evaluate(SET_MODE, [loader, mode])
    assert "model_2" not in page.prompt()[schedule.node]["inputs"]
    expect(schedule.find("chip")).to_have_count(2)
    expect(schedule.find("message")).to_contain_text("2 models need 1 split, got 2")


@pytest.mark.parametrize("mode", [MUTED, BYPASSED])
def test_the_steps_are_those_of_a_sampler_that_runs(schedule: Timeline, mode: int) -> None:
    page = schedule.page
    first = page.node_of_type("KSampler")
    page.connect(schedule.node, "MODEL", page.add("KSampler", (1200, 50), steps=33), "model")
    page.evaluate(SET_MODE, [first, mode])
    expect(schedule.find("left")).to_have_text("33 steps")


def test_texts_changed_from_outside_are_drawn(schedule: Timeline) -> None:
    page, node = schedule.page, schedule.node
    page.set_widget(node, "splits", "0.1, 0.9")
    schedule.expect_handles(2, 18)
    page.set_widget(node, "unit", "sigma")
    expect(schedule.find("message")).to_have_text(
        "splits in unit sigma must fall, as the noise does: 0.1 comes before 0.9."
    )
    page.set_widget(node, "splits", "0.9, 0.25")
    schedule.expect_handles(6, 19)  # the steps that start on 0.9 and 0.25 are the earlier model's
    page.set_widget(node, "pattern", "1x2 nonsense")
    expect(schedule.find("message")).to_contain_text('pattern must look like "1x8 2x12"')
    schedule.expect_texts(pattern="1x2 nonsense")
    page.set_widget(page.node_of_type("KSampler"), "steps", 10)
    page.set_widget(node, "pattern", "1x5 3x5")
    schedule.expect_handles(5)


def test_models_are_called_by_their_files(page: ComfyPage) -> None:
    node = page.add("TStitchKSampler", (400, 50), steps=STEPS)
    for name, socket in (("ldm/small.safetensors", "small_model"), ("large.ckpt", "model")):
        page.connect(page.add("TStitchLoadLDM", (50, 50), ldm_name=name), 0, node, socket)
    line = Timeline(page, node)
    expect(line.find("chip > :nth-child(2)")).to_have_text(["small", "large"])


def test_hovering_shows_step_and_noise_level(schedule: Timeline) -> None:
    schedule.mouse.move(*schedule.point(10.5))
    expect(schedule.find("left")).to_have_text(re.compile(r"^step 11 · t 0\.75 · . 0\.75 · B"))  # exact: all are flows
    schedule.page.set_widget(schedule.page.node_of_type("KSampler"), "scheduler", "beta")
    expect(schedule.find("left")).to_have_text(re.compile(r"^step 11 · t 0\.\d+ · . 0\.\d+ · B"))


def test_levels_of_unknown_models_are_marked_as_a_guess(page: ComfyPage) -> None:
    line = Timeline(page, page.add("TStitchKSampler", steps=STEPS, scheduler="karras"))
    line.mouse.move(*line.point(0.5))
    expect(line.find("left")).to_have_text(re.compile(r"^step 1 · t . 1 · . . 14\.61 · small_model"))


def test_stitch_guiders_read_the_scheduler_of_their_sampler(page: ComfyPage) -> None:
    node = page.add("TStitchGuiders", (400, 50))
    line = Timeline(page, node)
    expect(line.find("left")).to_have_text("20 steps assumed: connect a sampler")
    sampler = page.add("SamplerCustomAdvanced", (800, 50))
    page.connect(node, "GUIDER", sampler, "guider")
    page.connect(page.add("BasicScheduler", (400, 400), steps=12), "SIGMAS", sampler, "sigmas")
    expect(line.find("left")).to_have_text("12 steps")
    line.expect_handles(5)


def test_steps_that_no_sampler_tells_are_those_of_the_pattern(page: ComfyPage) -> None:
    """Only SplitSigmas knows how many there are: what the texts say is right until a run shows otherwise."""
    node = page.add("TStitchModelSchedule", (400, 50), pattern="1x4 2x6")
    line = Timeline(page, node)
    for model, socket in (("XL", "final_model"), ("S", "model_1")):
        page.connect(page.add("TStitchLoadStarter", (50, 50), model=model), "MODEL", node, socket)
    scheduler, split = page.add("BasicScheduler", (400, 400), steps=STEPS), page.add("SplitSigmas", (800, 400), step=10)
    sampler = page.add("SamplerCustom", (800, 50))
    page.connect(node, "MODEL", scheduler, "model")
    page.connect(node, "MODEL", sampler, "model")
    page.connect(scheduler, "SIGMAS", split, "sigmas")
    page.connect(split, 1, sampler, "sigmas")
    expect(line.find("left")).to_have_text("10 steps assumed: the sampler's are known only in a run")
    expect(line.find("segment")).to_have_count(2)


def test_a_pattern_that_does_not_fit_invites_no_double_click(schedule: Timeline, page: ComfyPage) -> None:
    page.set_widget(schedule.node, "pattern", "1x8 2x8")
    expect(schedule.find("message")).to_contain_text("adds up to 16 steps, but this run has 20")
    expect(schedule.find("left")).to_have_text("20 steps")
    schedule.double_click(12)
    schedule.expect_texts(pattern="1x8 2x8")


def test_a_setting_over_a_link_is_named(page: ComfyPage) -> None:
    """Its value is computed, so nothing on the page tells how much of the schedule is run."""
    node = page.add("TStitchKSamplerAdvanced", (400, 50), steps=STEPS)
    line = Timeline(page, node)
    expect(line.find("left")).to_have_text("20 steps")
    page.connect(page.add("StringLength", (50, 500)), 0, node, "start_at_step")
    expect(line.find("left")).to_have_text("20 steps; start_at_step comes over a link")


NUMBERS = (("PrimitiveInt", 5), ("PrimitiveFloat", 5.0), ("PrimitiveString", "5"))


@pytest.mark.parametrize(("source", "value"), NUMBERS)
def test_a_split_over_a_link_of_any_kind_of_number_is_shown(
    page: ComfyPage, source: str, value: int | float | str
) -> None:
    for kind, name, final in (
        ("TStitchKSampler", "fraction", "model"),
        ("TStitchModelSchedule", "splits", "final_model"),
    ):
        page.clear()
        node = page.add(kind, (400, 50), unit="step")
        page.connect(page.add("TStitchLoadStarter", (50, 50), model="XL"), "MODEL", node, final)
        page.connect(page.add(source, (50, 500), value=value), 0, node, name)
        for _ in range(2):  # and when it is opened again
            line = Timeline(page, node)
            expect(line.find("left")).to_contain_text("set over a link")
            first = line.find("segment").first
            expect(first).to_have_attribute("style", re.compile(r"width: 25%"))
            page.load(page.workflow())


@pytest.mark.parametrize(("kind", "name"), [("TStitchKSampler", "fraction"), ("TStitchModelSchedule", "splits")])
def test_the_pages_own_primitive_takes_the_widget_over(page: ComfyPage, kind: str, name: str) -> None:
    node = page.add(kind, (400, 50))
    page.connect(page.add("PrimitiveNode", (50, 500)), 0, node, name)
    page.settle()
    primitive = page.node_of_type("PrimitiveNode")
    own = "id => driver.locate(id).widgets[0].type"
    taken = "([id, name]) => driver.locate(id).widgets.find((widget) => widget.name === name).type"
    assert page.evaluate(own, primitive) == page.evaluate(taken, [node, name])
    page.evaluate(
        "([id, value]) => { driver.locate(id).widgets[0].value = value; }",
        [primitive, "0.25" if name == "splits" else 0.25],
    )
    line = Timeline(page, node)
    expect(line.find("left")).to_contain_text("set over a link")
    expect(line.find("segment").first).to_have_attribute("style", re.compile(r"width: 25%"))
    assert float(page.prompt()[node]["inputs"][name]) == 0.25


def test_a_pattern_that_only_a_run_knows_is_shown_with_it(page: ComfyPage) -> None:
    page.load(WORKFLOWS / "starter_pattern.json")
    node = page.node_of_type("TStitchModelSchedule")
    line = Timeline(page, node)
    joined = page.add("StringConcatenate", (50, 500), string_a="2x5", string_b="1x15", delimiter=" ")
    page.connect(joined, 0, node, "pattern")
    expect(line.find("bar")).to_contain_text("pattern comes over a link, so the bar cannot show it before the run.")
    page.run()
    expect(line.find("left")).to_have_text("20 steps in the last run · set over a link")
    expect(line.find("segment")).to_have_count(2)
    line.expect_handles()


def test_a_drag_whose_moves_were_lost_ends_where_it_was_let_go(sampler: Timeline) -> None:
    """As on a busy page: press and release, and nothing between."""
    (x, y), (to, _) = sampler.point(8), sampler.point(14)
    sampler.page.evaluate(
        """([x, y, to]) => {
          const [target, bar] = [document.elementFromPoint(x, y), document.querySelector(".tstitch-bar")];
          const told = { bubbles: true, cancelable: true, pointerId: 1, isPrimary: true, button: 0, clientY: y };
          bar.setPointerCapture = () => {}; // there is no such pointer
          target.dispatchEvent(new PointerEvent("pointerdown", { ...told, buttons: 1, clientX: x }));
          bar.dispatchEvent(new PointerEvent("pointerup", { ...told, clientX: to }));
          delete bar.setPointerCapture;
        }""",
        [x, y, to],
    )
    sampler.expect_texts(fraction=0.7)
    sampler.expect_handles(14)


def test_handles_at_the_end_can_be_taken_apart(schedule: Timeline) -> None:
    schedule.page.set_widget(schedule.node, "splits", "1, 1")
    schedule.expect_handles(20, 20)
    schedule.drag(20, 10)
    schedule.expect_handles(10, 20)


def test_names_and_steps_are_found_through_a_subgraph(schedule: Timeline, shot: Callable[[str], None]) -> None:
    page = schedule.page
    page.evaluate("id => { app.graph.convertToSubgraph(new Set([driver.locate(id)])); }", schedule.node)
    page.settle(2)
    page.evaluate("() => app.canvas.setGraph(app.graph.nodes.find(node => node.subgraph).subgraph)")
    page.settle(3)
    expect(schedule.find("left")).to_have_text("20 steps")
    assert [name.strip() for name in schedule.find("chip > :nth-child(2)").all_inner_texts()] == ["S", "B", "XL"]
    shot("timeline-in-a-subgraph")
    page.evaluate("() => app.canvas.setGraph(app.graph.rootGraph ?? app.graph)")


def test_the_widgets_of_a_subgraph_count_inside_it(sampler: Timeline) -> None:
    page = sampler.page
    page.evaluate(
        """id => {
          const { node, subgraph } = app.graph.convertToSubgraph(new Set([driver.locate(id)]));
          const [inner] = subgraph.nodes;
          for (const [name, value] of [["steps", 12], ["fraction", 0.25]]) {
            const input = inner.inputs.find((each) => each.widget?.name === name);
            subgraph.addInput(name, input.type).connect(input, inner);
            node.widgets.find((widget) => widget.name === name).value = value;
          }
          app.canvas.setGraph(subgraph);
        }""",
        sampler.node,
    )
    page.settle(3)
    try:
        expect(sampler.find("left")).to_have_text("12 steps · set over a link")
        expect(sampler.find("segment")).to_have_count(2)
    finally:
        page.evaluate("() => app.canvas.setGraph(app.graph.rootGraph)")


def test_the_properties_panel_leaves_the_bar_alone(sampler: Timeline) -> None:
    """Newer pages show a selected node's widgets beside the canvas."""
    page, setting = sampler.page, "Comfy.RightSidePanel.IsOpen"
    if not page.evaluate("name => Boolean(app.extensionManager.setting.settings?.[name])", setting):
        pytest.skip("this page has no such panel")
    before = sampler.find("bar").bounding_box()
    page.evaluate("name => app.extensionManager.setting.set(name, true)", setting)
    try:
        page.evaluate("id => app.canvas.selectItems([driver.locate(id)])", sampler.node)
        page.settle(10)
        assert sampler.find("bar").bounding_box() == before
        assert page.page.get_by_text("tstitch_timeline").count() == 0
    finally:
        page.evaluate("name => app.extensionManager.setting.set(name, false)", setting)


def test_nothing_is_left_of_a_removed_node(schedule: Timeline) -> None:
    page = schedule.page
    page.remove(schedule.node)
    expect(page.page.locator(".tstitch-timeline")).to_have_count(0)


LIVE = {"steps": 20, "names": ["small_model", "model"], "savedSeconds": None}


def live(page: ComfyPage, node: str, **state: object) -> None:
    """Show the state of a run of the graph as it is now."""
    page.evaluate(
        """([id, state]) => {
          const widget = driver.widget(id, "tstitch_timeline");
          widget.setLive({ ...state, levelsKey: widget.levelsKey() });
        }""",
        [node, {**LIVE, **state}],
    )


def test_a_run_lights_its_step_and_leaves_its_figures(sampler: Timeline, shot: Callable[[str], None]) -> None:
    page, node = sampler.page, sampler.node
    state = {"step": 9, "stage": 1, "secondsPerStage": [0.8, 0.5], "stepsPerStage": [8, 1], "restSeconds": 5.5}
    live(page, node, **state, finished=False)
    expect(sampler.find("status")).to_contain_text("step 10 of 20 · 5.5 s left")
    expect(sampler.find("chip").nth(1)).to_have_attribute("data-now", "")
    expect(sampler.find("now")).to_be_visible()
    shot("timeline-running")
    state = {"step": 20, "stage": 1, "secondsPerStage": [0.8, 6.0], "stepsPerStage": [8, 12], "restSeconds": 0}
    levels = {"sigmas": [2.0 - step / 10 for step in range(21)], "timesteps": [1 - step / 20 for step in range(21)]}
    live(page, node, **state, **levels, finished=True, savedSeconds=3.2)
    expect(sampler.find("status")).to_contain_text("6.8 s · saved 3.2 s (32 %)")
    expect(sampler.find("chip").nth(0)).to_contain_text("0.80 s")
    expect(sampler.find("now")).to_be_hidden()
    shot("timeline-finished")
    sampler.mouse.move(*sampler.point(10.5))
    expect(sampler.find("status")).to_contain_text(
        "step 11 · t 0.5 · \N{GREEK SMALL LETTER SIGMA} 1 "
    )  # the levels that the run has measured
    live_off = "id => driver.widget(id, 'tstitch_timeline').setLive(null)"
    page.evaluate(live_off, node)
    expect(sampler.find("chip").nth(0)).to_contain_text("8 steps")


DONE = {"step": 20, "stage": 1, "secondsPerStage": [0.8, 6.0], "stepsPerStage": [8, 12], "restSeconds": 0}
MEASURED = {"sigmas": [2.0 - step / 10 for step in range(21)], "timesteps": [1 - step / 20 for step in range(21)]}


def test_measured_levels_end_with_the_shift_they_were_measured_for(page: ComfyPage) -> None:
    node = page.add("TStitchKSampler", (700, 50), steps=STEPS)
    shifted = page.add("ModelSamplingSD3", (400, 50), shift=1.0)
    page.connect(page.add("TStitchLoadStarter", (50, 50), model="XL"), "MODEL", shifted, "model")
    page.connect(shifted, "MODEL", node, "model")
    line = Timeline(page, node)
    live(page, node, **DONE, **MEASURED, finished=True)
    line.mouse.move(*line.point(10.5))
    expect(line.find("status")).to_contain_text(re.compile(r"step 11 · t 0\.5 · . 1 "))
    page.set_widget(node, "fraction", 0.3)  # which model runs a step does not change its level
    expect(line.find("status")).to_contain_text(re.compile(r"step 11 · t 0\.5 · . 1 "))
    page.set_widget(shifted, "shift", 3.0)
    expect(line.find("status")).to_contain_text(re.compile(r"step 11 · t 0\.75 · . 0\.75 "))


def test_measured_levels_end_with_the_file_they_were_measured_for(page: ComfyPage) -> None:
    node = page.add("TStitchModelSchedule", (400, 50))
    loader = page.add("UNETLoader", (50, 50), unet_name="one.safetensors")
    page.connect(loader, "MODEL", node, "final_model")
    shifted = page.add("ModelSamplingContinuousEDM", (800, 50))  # also what comes after the schedule counts
    page.connect(node, "MODEL", shifted, "model")
    page.connect(shifted, "MODEL", page.add("KSampler", (1200, 50), steps=STEPS), "model")
    line = Timeline(page, node)
    names = ["model_1", "final_model"]
    for changed, name, value in [(loader, "unet_name", "two.safetensors"), (shifted, "sigma_max", 80.0)]:
        live(page, node, **DONE, **MEASURED, names=names, finished=True)
        line.mouse.move(*line.point(10.5))
        expect(line.find("status")).to_contain_text(re.compile(r"step 11 · t 0\.5 · . 1 "))
        page.set_widget(changed, name, value)
        expect(line.find("status")).to_contain_text("\N{ALMOST EQUAL TO}")


def test_figures_of_other_inputs_are_not_shown(schedule: Timeline) -> None:
    """The run was one of two models; a third has been connected since."""
    page, node = schedule.page, schedule.node
    live(page, node, **DONE, names=["model_1", "final_model"], finished=True)
    expect(schedule.find("chip").nth(1)).to_contain_text("6 steps")
    expect(schedule.find("status")).not_to_contain_text("6.8 s")
    page.disconnect(node, "model_2")
    expect(schedule.find("chip")).to_have_count(2)
    expect(schedule.find("chip").nth(1)).to_contain_text("6.0 s")
    expect(schedule.find("status")).to_contain_text("6.8 s")


THREE = {**DONE, "secondsPerStage": [1.0, 2.0, 3.0], "stepsPerStage": [5, 5, 10]}
THREE_NAMES = ["model_1", "model_2", "final_model"]


def test_a_pattern_can_be_cleared_after_a_run(schedule: Timeline, shot: Callable[[str], None]) -> None:
    page, node = schedule.page, schedule.node
    page.set_widget(node, "pattern", "1x5 2x5 3x10")
    live(page, node, **THREE, names=THREE_NAMES, finished=False)
    expect(schedule.find("clear")).to_have_count(0)
    live(page, node, **THREE, names=THREE_NAMES, finished=True, savedSeconds=3.2)
    expect(schedule.find("status")).to_contain_text("6.0 s · saved 3.2 s (35 %)")
    expect(schedule.find("orders")).to_be_hidden()  # the figures need the room
    shot("timeline-clear-after-a-run")
    schedule.find("clear").click()
    schedule.expect_texts(pattern="")
    expect(schedule.find("clear")).to_have_count(0)
    schedule.mouse.move(5, 5)
    expect(schedule.find("orders")).to_be_visible()


def test_a_pattern_over_a_link_cannot_be_cleared_here(schedule: Timeline) -> None:
    page, node = schedule.page, schedule.node
    page.set_widget(node, "pattern", "1x20")
    expect(schedule.find("clear")).to_have_count(1)
    page.connect(page.add("PrimitiveString", (50, 500), value="1x5 3x15"), 0, node, "pattern")
    expect(schedule.find("status")).to_contain_text("set over a link")
    expect(schedule.find("clear")).to_have_count(0)
    page.set_widget(page.node_of_type("PrimitiveString"), "value", "")


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_pictures(schedule: Timeline, shot: Callable[[str], None], theme: str) -> None:
    """Idle and while a handle is dragged, in both themes; the pictures are for people, this checks the colours."""
    page = schedule.page
    page.evaluate("theme => app.extensionManager.setting.set('Comfy.ColorPalette', theme)", theme)
    page.settle(2)
    shot(f"timeline-idle-{theme}")
    schedule.mouse.move(*schedule.point(6))
    schedule.mouse.down()
    schedule.mouse.move(*schedule.point(9))
    shot(f"timeline-dragging-{theme}")
    schedule.mouse.up()
    page.settle()
    colours = schedule.find("segment").evaluate_all("all => all.map(each => getComputedStyle(each).backgroundColor)")
    assert colours == ["rgb(0, 114, 178)", "rgb(230, 159, 0)", "rgb(0, 158, 115)"]
    page.evaluate("() => app.extensionManager.setting.set('Comfy.ColorPalette', 'dark')")
