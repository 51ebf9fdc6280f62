"""The nodes of the pack, gathered for the host."""

from __future__ import annotations

import logging

from comfy_api.latest import ComfyExtension, io

from . import (
    auto,
    calibration,
    calibration_files,
    class_label,
    guidance,
    guiders,
    loaders,
    low_resolution,
    model_schedule,
    own_steps,
    pairs,
    plan,
    profile,
    samplers,
    split_steps,
    sweep,
    training,
)
from .routes import register_routes

logger = logging.getLogger("tstitch")

NODES = [
    *samplers.NODES,
    *model_schedule.NODES,
    *split_steps.NODES,
    *guiders.NODES,
    *low_resolution.NODES,
    *guidance.NODES,
    *loaders.NODES,
    *class_label.NODES,
    *training.NODES,
    *calibration.NODES,
    *calibration_files.NODES,
    *sweep.NODES,
    *profile.NODES,
    *plan.NODES,
    *auto.NODES,
    *own_steps.NODES,
    *pairs.NODES,
]


class TStitchExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        register_routes()
        logger.info("T-Stitch: %d nodes", len(NODES))
        return NODES
