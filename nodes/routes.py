"""Routes that the page requests, beside the host's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from ..tstitch.errors import StitchError
from ..tstitch.page.noise_preview import PlannedRun, preview_levels
from ..tstitch.page.progress import page_server
from ..tstitch.pairs.library import latents_of

if TYPE_CHECKING:
    from aiohttp import web


MOST_NAMES = 64  # of one question


def register_routes() -> None:
    """Add the routes where a server runs."""
    server = page_server()
    if server is not None:
        server.routes.get("/tstitch/levels")(levels)
        server.routes.get("/tstitch/latents")(latents)


async def levels(request: web.Request) -> web.Response:
    """Noise levels of a run that has not been made yet; 400 with a sentence for arguments that do not fit."""
    from aiohttp import web  # the server has loaded it already; a script without one does not need it

    try:
        return web.json_response(preview_levels(planned_run(request.query)))
    except StitchError as error:
        return web.json_response({"error": str(error)}, status=400)


async def latents(request: web.Request) -> web.Response:
    """By name of a model file: the latents it reads, and the number of those that it shares them with; or nothing."""
    from aiohttp import web

    names = request.query.getall("name", [])[:MOST_NAMES]
    return web.json_response(await asyncio.to_thread(latents_of, names))


def planned_run(query: Mapping[str, str]) -> PlannedRun:
    """Read the fields of a PlannedRun from the texts of a query. Raises StitchError."""
    readers: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "bool": "true".__eq__, "str": str}
    values: dict[str, Any] = {}
    for field in fields(PlannedRun):
        if field.name in query:
            try:
                values[field.name] = readers[str(field.type)](query[field.name])
            except (ValueError, OverflowError):
                raise StitchError(f"{field.name} must be a number, got {query[field.name]!r}.") from None
    missing = [name for name in ("steps", "scheduler") if name not in values]
    if missing:
        raise StitchError(f"{' and '.join(missing)} must be given.")
    return PlannedRun(**values)
