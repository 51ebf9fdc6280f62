"""While a run goes on and after it: what the page is told, and what the nodes show of it."""

from __future__ import annotations

import itertools
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from scripts.browser import ComfyPage
from scripts.workflow import Json

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
LONG = 120  # steps: about half a second of the smallest starter model on an idle core
ENDLESS = 900
LOOKED = 500  # milliseconds in which a timeline has looked at its widgets
BEYOND_A_RELOAD = 4000  # steps that last until a page has come back, on a busy machine too
SEEDS = itertools.count(random.randrange(2**31))  # an equal prompt would be answered from the host's cache
SAVED = re.compile("saved|slower")
PLACES = {"TStitchKSampler": "starter_tstitch", "TStitchModelSchedule": "starter_three_models"}
SHOWS = "([id, text]) => driver.locate(id).widgets.some(widget => widget.element?.innerText?.includes(text))"


@pytest.fixture
def told(page: ComfyPage) -> ComfyPage:
    """A page that notes every message of ours, and every state that a widget is given."""
    page.evaluate(
        """() => {
          driver.told = [];
          if (!driver.listening) {
            app.api.addEventListener("tstitch.progress", ({ detail }) => {
              driver.told.push({ ...detail, at: performance.now() });
            });
          }
          driver.listening = true;
        }"""
    )
    return page


def messages(page: ComfyPage) -> list[Json]:
    return page.evaluate("() => driver.told")


def state(page: ComfyPage, node: str) -> Any:
    """What the timeline of `node` was given last, by the text that it shows."""
    script = "id => [...driver.locate(id).widgets].map(w => w.element?.innerText ?? '').join('\\n')"
    return page.evaluate(script, node)


def opened(page: ComfyPage, workflow: str, **values: object) -> str:
    """The id of the node with the timeline, in a workflow of one small picture whose sampler has these values."""
    page.load(WORKFLOWS / f"{workflow}.json")
    kinds = page.nodes()
    sampler = next(node for node, kind in kinds.items() if kind in ("KSampler", "TStitchKSampler"))
    for name, value in {"seed": next(SEEDS), **values}.items():
        page.set_widget(sampler, name, value)
    for loader in (node for node, kind in kinds.items() if kind == "TStitchLoadStarter"):
        page.set_widget(loader, "model", "S")
        page.set_widget(loader, "labels", "Micah")
    return next(node for node, kind in kinds.items() if kind in PLACES)


def of_node(page: ComfyPage, node: str) -> list[Json]:
    return [message for message in messages(page) if message["node"] == node]


@pytest.mark.parametrize("workflow", PLACES.values())
def test_a_run_is_told_from_start_to_end(told: ComfyPage, workflow: str) -> None:
    node = opened(told, workflow, steps=30)
    told.run()
    found = of_node(told, node)
    assert {message["node"] for message in messages(told)} == {node}
    assert found[0]["step"] == 0
    assert [message["finished"] for message in found] == [False] * (len(found) - 1) + [True]
    last = found[-1]
    assert last["step"] == last["steps"] == 30 == sum(last["stepsPerStage"])
    assert last["stepsPerStage"] == [
        sum(n for owner, n in last["intervals"] if owner == stage) for stage in range(len(last["names"]))
    ]
    assert all(seconds > 0 for seconds in last["secondsPerStage"])
    assert last["workflow"] == told.evaluate("() => app.graph.id")
    steps = [message["step"] for message in found]
    assert steps == sorted(steps)


def test_the_report_and_the_page_are_told_the_same(told: ComfyPage) -> None:
    node = opened(told, "starter_tstitch", steps=12)
    preview = told.add("PreviewAny", (900, 600))
    told.connect(node, "report", preview, "source")
    told.run()
    shown = [event["detail"]["output"] for event in told.events("executed") if event["detail"]["node"] == preview]
    report = json.loads(shown[-1]["text"][0])
    last = of_node(told, node)[-1]
    assert [stage["model"] for stage in report["stages"]] == last["names"]
    assert [stage["steps"] for stage in report["stages"]] == last["stepsPerStage"]
    assert [stage["seconds"] for stage in report["stages"]] == pytest.approx(last["secondsPerStage"], abs=1e-3)


def test_messages_are_few(told: ComfyPage) -> None:
    node = opened(told, "starter_tstitch", steps=LONG)
    told.run()
    found = of_node(told, node)
    seconds = (found[-1]["at"] - found[0]["at"]) / 1000
    assert 3 <= len(found) <= 3 + 4 * seconds


def test_the_widget_shows_the_step_and_then_the_seconds(told: ComfyPage) -> None:
    node = opened(told, "starter_tstitch", steps=LONG)
    done = told.runs_finished()
    told.queue()
    told.wait_for(SHOWS, 60, [node, f"of {LONG}"])
    told.wait_for_runs(done + 1)
    assert SAVED.search(state(told, node))


def test_previews_and_progress_of_the_host_go_on(told: ComfyPage) -> None:
    opened(told, "starter_three_models", steps=30)
    before = len(told.events("b_preview")), len(told.events("progress"))
    told.run()
    assert len(told.events("b_preview")) > before[0]
    assert len(told.events("progress")) >= before[1] + 29


def copied(page: ComfyPage, node: str) -> str:
    """The id of a second sampler with the links of the first and another seed."""
    copy = page.evaluate(
        """id => {
          const node = driver.locate(id), copy = node.clone();
          copy.pos = [node.pos[0], node.pos[1] + 700];
          app.graph.add(copy);
          node.inputs.forEach((input, slot) => {
            const link = input.link == null ? null : app.graph.getLink?.(input.link) ?? app.graph.links.get(input.link);
            if (link) { app.graph.getNodeById(link.origin_id).connect(link.origin_slot, copy, slot); }
          });
          const save = LiteGraph.createNode("SaveLatent");
          app.graph.add(save);
          copy.connect(0, save, 0);
          return String(copy.id);
        }""",
        node,
    )
    page.set_widget(copy, "seed", next(SEEDS))
    return copy


def test_two_nodes_of_one_graph_are_kept_apart(told: ComfyPage) -> None:
    first = opened(told, "starter_tstitch", steps=8)
    second = copied(told, first)
    told.set_widget(second, "steps", 20)
    told.run()
    assert of_node(told, first)[-1]["steps"] == 8
    assert of_node(told, second)[-1]["steps"] == 20
    for node in (first, second):
        assert SAVED.search(state(told, node))


def test_queued_prompts_each_start_from_nothing(told: ComfyPage) -> None:
    node = opened(told, "starter_tstitch", steps=10)
    done = told.runs_finished()
    told.queue()
    told.set_widget(node, "steps", 14)
    told.set_widget(node, "seed", next(SEEDS))
    told.queue()
    told.wait_for_runs(done + 2)
    finished = [message for message in of_node(told, node) if message["finished"]]
    assert [message["steps"] for message in finished] == [10, 14]
    assert len({message["prompt"] for message in finished}) == 2
    firsts = [next(m for m in of_node(told, node) if m["prompt"] == end["prompt"]) for end in finished]
    assert [first["step"] for first in firsts] == [0, 0]


RULER = "[...driver.widget(id, 'tstitch_timeline').element.querySelectorAll('.tstitch-mark')].map(m => m.textContent)"


def ruler(page: ComfyPage, node: str) -> list[str]:
    """The numbers below the bar, once they are those of the widgets as they are now."""
    page.page.wait_for_timeout(LOOKED)
    page.wait_for(f"id => {RULER}.length > 2", 60, node)  # none while the server is asked for the noise levels
    return page.evaluate(f"id => {RULER}", node)


def test_measured_levels_are_those_of_the_graph_that_was_queued(told: ComfyPage) -> None:
    """The scheduler is changed while one prompt runs and a second waits: both have the levels of the old one."""
    node = opened(told, "starter_tstitch", steps=LONG, unit="sigma", scheduler="beta")
    told.show(node)
    beta = ruler(told, node)
    told.set_widget(node, "scheduler", "simple")
    simple = ruler(told, node)
    assert len(beta) > 2
    assert simple != beta
    done = told.runs_finished()
    told.queue()
    told.set_widget(node, "seed", next(SEEDS))
    told.queue()
    told.set_widget(node, "scheduler", "beta")
    told.wait_for_runs(done + 2)
    assert sum(message["finished"] for message in of_node(told, node)) == 2
    assert ruler(told, node) == beta
    told.wait_for_autosave()
    told.reload()
    assert ruler(told, node) == beta


ADD_A_SECOND_PASS = """([first, second, schedule]) => {
  const [base, again, from] = [first, second, schedule].map((id) => driver.locate(id));
  from.connect(0, again, again.findInputSlot("model"));
  for (const name of ["positive", "negative"]) {
    const id = base.inputs[base.findInputSlot(name)].link;
    const link = app.graph.getLink?.(id) ?? app.graph.links.get(id);
    app.graph.getNodeById(link.origin_id).connect(link.origin_slot, again, again.findInputSlot(name));
  }
  base.connect(0, again, again.findInputSlot("latent_image"));
  const save = LiteGraph.createNode("SaveLatent");
  app.graph.add(save);
  again.connect(0, save, 0);
}"""


def test_levels_of_a_second_sampler_are_not_taken_for_the_firsts(told: ComfyPage) -> None:
    node = opened(told, "starter_three_models", steps=8)
    told.set_widget(node, "unit", "timestep")
    told.set_widget(node, "splits", "0.7, 0.4")
    base = told.node_of_type("KSampler")
    second = told.add("KSampler", (1200, 700), steps=8, denoise=0.5, seed=next(SEEDS), cfg=2.0, scheduler="simple")
    told.evaluate(ADD_A_SECOND_PASS, [base, second, node])
    told.show(node)
    before = ruler(told, node)
    assert before[0] == "1"
    told.run()
    assert len({message["sampler"] for message in of_node(told, node)}) == 2
    assert ruler(told, node) == before


def test_a_node_that_the_host_has_cached_is_told_of_under_its_new_id(told: ComfyPage) -> None:
    node = opened(told, "starter_three_models", steps=8)
    told.run()
    told.set_widget(told.node_of_type("KSampler"), "seed", next(SEEDS))
    packed = told.evaluate("id => String(app.graph.convertToSubgraph(new Set([driver.locate(id)])).node.id)", node)
    inside = told.evaluate("id => String(driver.locate(id).subgraph.nodes[0].id)", packed)
    told.evaluate("() => { driver.told = []; }")
    told.settle()
    told.run()
    assert {message["node"] for message in messages(told)} == {f"{packed}:{inside}"}


def test_a_node_in_a_subgraph_is_found(told: ComfyPage, renderer: str) -> None:
    node = opened(told, "starter_tstitch", steps=8)
    packed = told.evaluate("id => String(app.graph.convertToSubgraph(new Set([driver.locate(id)])).node.id)", node)
    told.settle()
    told.run()
    inside = f"{packed}:{told.evaluate('id => driver.locate(id).subgraph.nodes[0].id', packed)}"
    assert of_node(told, inside)[-1]["finished"]
    if renderer == "classic":  # Nodes 2.0 draws what is in a subgraph when it is opened
        assert SAVED.search(state(told, inside))


def test_a_run_that_is_stopped_leaves_nothing(told: ComfyPage) -> None:
    node = opened(told, "starter_tstitch", steps=ENDLESS)
    done = told.runs_finished()
    told.queue()
    told.wait_for("driver.told.length >= 2", 60)
    told.evaluate("() => app.api.interrupt(null)")
    told.wait_for("total => driver.finished().length >= total", 60, done + 1)
    told.settle()
    shown = state(told, node)
    assert f"of {ENDLESS}" not in shown
    assert not SAVED.search(shown)


def test_a_run_whose_end_was_missed_does_not_go_on(told: ComfyPage) -> None:
    node = opened(told, "starter_tstitch", steps=ENDLESS)
    told.queue()
    told.wait_for(SHOWS, 60, [node, f"of {ENDLESS}"])
    told.evaluate(
        """async () => {
          window.RealWebSocket = window.WebSocket;
          window.WebSocket = function () { return new RealWebSocket("ws://127.0.0.1:9/"); };
          app.api.socket.close();
          await app.api.fetchApi("/interrupt", { method: "POST" });
        }"""
    )
    while told.evaluate("async () => (await (await app.api.fetchApi('/queue')).json()).queue_running.length"):
        told.page.wait_for_timeout(100)
    told.evaluate("() => { window.WebSocket = window.RealWebSocket; }")
    told.wait_for("app.api.socket.readyState === 1", 60)
    told.wait_for(f"!({SHOWS})(['{node}', 'of {ENDLESS}'])", 20)
    told.errors.clear()  # of the page's own socket


def test_a_reload_keeps_the_figures_of_a_finished_run_and_picks_up_another(told: ComfyPage) -> None:
    first = opened(told, "starter_tstitch", steps=8)
    second = copied(told, first)
    told.run()
    told.show(first)
    shown = state(told, first)
    assert SAVED.search(shown)
    told.set_widget(second, "steps", BEYOND_A_RELOAD)
    told.wait_for_autosave()
    before = len(messages(told))
    told.queue()
    told.wait_for("before => driver.told.length >= before + 2", 60, before)
    told.reload()
    told.show(first)  # a text that is not drawn has no spaces
    assert state(told, first).split() == shown.split()
    told.wait_for(SHOWS, 60, [second, f"of {BEYOND_A_RELOAD}"])
    told.evaluate("() => app.api.interrupt(null)")
    told.wait_for("driver.finished().length >= 1", 60)
