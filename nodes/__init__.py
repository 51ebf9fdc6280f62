"""The nodes of the pack, gathered for the host."""

from __future__ import annotations

import logging

from comfy_api.latest import ComfyExtension, io

from . import (
    calibration,
    guidance,
    guiders,
    loaders,
    low_resolution,
    pairs,
    planning,
    samplers,
    schedule,
    sweep,
    training,
)
from .routes import register_routes

logger = logging.getLogger("tstitch")

NODES = [
    *samplers.NODES,
    *schedule.NODES,
    *guiders.NODES,
    *low_resolution.NODES,
    *guidance.NODES,
    *loaders.NODES,
    *training.NODES,
    *calibration.NODES,
    *sweep.NODES,
    *planning.NODES,
    *pairs.NODES,
]


class TStitchExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        register_routes()
        logger.info("T-Stitch: %d nodes", len(NODES))
        return NODES
