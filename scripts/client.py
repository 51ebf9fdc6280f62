"""ComfyUI's HTTP and websocket API, as far as the demo needs it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import aiohttp

from scripts.workflow import Json

SILENCE_SECONDS = 600  # longer than any step of the demo takes


class RunError(RuntimeError):
    pass


@dataclass
class RunRecord:
    """What the server told while it ran one prompt."""

    outputs: dict[str, Json] = field(default_factory=dict)  # by node id
    seconds: dict[str, float] = field(default_factory=dict)  # each node's own time, by node id

    def images(self) -> list[Json]:
        return [image for output in self.outputs.values() for image in output.get("images", [])]


class Stopwatch:
    """A node's own time: from its `executing` message to the next one."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds = seconds
        self.node: str | None = None
        self.since = 0.0

    def switch(self, node: str | None) -> None:
        now = time.perf_counter()
        if self.node is not None:
            self.seconds[self.node] = self.seconds.get(self.node, 0.0) + now - self.since
        self.node, self.since = node, now


class Client:
    """One websocket and one HTTP session with a running server."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.id = uuid.uuid4().hex

    async def __aenter__(self) -> Client:
        self.session = aiohttp.ClientSession(f"http://{self.address}")
        self.socket = await self.session.ws_connect("/ws", params={"clientId": self.id}, max_msg_size=0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.socket.close()
        await self.session.close()

    async def object_info(self) -> Json:
        async with self.session.get("/object_info") as answer:
            answer.raise_for_status()
            return await answer.json()

    async def image(self, reference: Json) -> bytes:
        query = {name: reference[name] for name in ("filename", "subfolder", "type")}
        async with self.session.get("/view", params=query) as answer:
            answer.raise_for_status()
            return await answer.read()

    async def run(self, prompt: Json, on_progress: Callable[[str, int, int], None]) -> RunRecord:
        """Queue `prompt` and follow it to its end; `on_progress` gets (node id, steps done, steps in all)."""
        prompt_id = await self._queue(prompt)
        record = RunRecord()
        stopwatch = Stopwatch(record.seconds)
        while True:
            event, data = await self._next_event()
            if data.get("prompt_id") != prompt_id:
                continue
            if event == "executing":
                stopwatch.switch(data["node"])
            elif event == "progress":
                on_progress(data["node"], data["value"], data["max"])
            elif event == "executed" and data.get("output"):
                record.outputs[data["node"]] = data["output"]
            elif event == "execution_error":
                raise RunError(f"The node {data['node_type']} failed: {data['exception_message'].strip()}")
            elif event == "execution_interrupted":
                raise RunError("The run was interrupted in ComfyUI.")
            elif event == "execution_success":
                stopwatch.switch(None)
                return record

    async def _queue(self, prompt: Json) -> str:
        async with self.session.post("/prompt", json={"prompt": prompt, "client_id": self.id}) as answer:
            body = await answer.json()
        if "prompt_id" not in body or body.get("node_errors"):
            raise RunError(f"ComfyUI refused the workflow: {refusal(body)}")
        return body["prompt_id"]

    async def _next_event(self) -> tuple[str, Json]:
        """The next JSON message; previews come as binary ones and are passed over."""
        while True:
            message = await self.socket.receive(timeout=SILENCE_SECONDS)
            if message.type is aiohttp.WSMsgType.TEXT:
                body: dict[str, Any] = message.json()
                return body["type"], body["data"]
            if message.type is not aiohttp.WSMsgType.BINARY:
                raise ConnectionError("The server closed the connection")


async def fetch_object_info(address: str) -> Json:
    """The server's answer to /object_info."""
    async with Client(address) as client:
        return await client.object_info()


def refusal(body: Json) -> str:
    """One sentence out of the answer to a prompt that does not validate."""
    problems = [
        f"{node['class_type']}: {error['message']} ({error['details']})"
        for node in body.get("node_errors", {}).values()
        for error in node["errors"]
    ]
    return "; ".join(problems) or body.get("error", {}).get("message", "no reason given")
