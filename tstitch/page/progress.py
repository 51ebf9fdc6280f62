"""Tells the page that queued a run which model is at which step, a few times a second.

Costs no device synchronisation: steps and seconds are those of the report, counted on the CPU.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from ..stitch.report import Report

EVENT = "tstitch.progress"
SECONDS_BETWEEN = 0.25


class PageWatch:
    """Sends the progress of the runs of one node to the page that queued them."""

    def __init__(self, node: str) -> None:
        self.node = node  # execution id of the one that holds the schedule, such as "7" or "2:1"
        self._next = 0.0
        self._fixed: dict[str, Any] = {}  # what stays the same in a run

    def begin(self, report: Report) -> None:
        self._next = 0.0
        self._fixed = {"node": self.node, **run_identity(), **describe(report)}

    def call(self, report: Report, now: float) -> None:
        if now >= self._next:
            self._next = now + SECONDS_BETWEEN
            self._send(report, finished=False)

    def finish(self, report: Report) -> None:
        self._send(report, finished=True)

    def _send(self, report: Report, finished: bool) -> None:
        server = page_server()
        if server is not None and server.client_id is not None:
            server.send_sync(EVENT, {**self._fixed, **progress(report, finished)}, server.client_id)


def watch_for_page() -> PageWatch | None:
    """A watch for the node that is being executed; None without a server."""
    context = executing_context()
    return None if context is None or page_server() is None else PageWatch(context.node_id)


def executing_context() -> Any:
    from comfy_execution.utils import get_executing_context

    return get_executing_context()


def page_server() -> Any:
    """The server of this process, if it is one: scripts and tests never load the host's `server` module."""
    return getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)


def run_identity() -> dict[str, Any]:
    """The prompt, the node that samples, and the id of the workflow they come from (None where it has none)."""
    context, server = executing_context(), page_server()
    prompt = None if context is None else context.prompt_id
    running = [] if server is None else list(server.prompt_queue.currently_running.values())
    workflow = next((workflow_id(extra) for _, its_id, _, extra, *_ in running if its_id == prompt), None)
    return {"prompt": prompt, "sampler": None if context is None else context.node_id, "workflow": workflow}


def workflow_id(extra_data: dict[str, Any]) -> str | None:
    found: Any = extra_data  # a script may have queued anything there
    for key in ("extra_pnginfo", "workflow", "id"):
        found = found.get(key) if isinstance(found, dict) else None
    return found


def describe(report: Report) -> dict[str, Any]:
    """The constant part of the messages: names by stage, [stage, steps] of each interval, noise levels."""
    assert report.schedule is not None
    assert report.trajectory is not None
    return {
        "names": [use.name for use in report.uses],
        "steps": report.trajectory.steps,
        "intervals": [[interval.stage, interval.steps] for interval in report.schedule.intervals],
        "sigmas": [round(sigma, 6) for sigma in report.trajectory.sigmas],
        "timesteps": [round(t, 6) for t in report.trajectory.timesteps],
        "noises": [round(share, 6) for share in report.trajectory.noises],
    }


def progress(report: Report, finished: bool) -> dict[str, Any]:
    """Progress: seconds by stage, and seconds per step of each (None if not measured yet)."""
    assert report.schedule is not None
    done = report.schedule.owners[: report.step]
    steps = [done.count(stage) for stage in range(len(report.uses))]
    return {
        "finished": finished,
        "step": report.step,
        "stage": report.schedule.owners[min(report.step, len(report.schedule.owners) - 1)],
        "stepsPerStage": steps,
        "weakCallsPerStage": [use.weak_calls for use in report.uses],
        "secondsPerStage": [round(seconds, 4) for seconds in report.seconds_so_far(time.perf_counter())],
        "secondsPerStep": [use.seconds_per_step(done) for use, done in zip(report.uses, steps, strict=True)],
    }
