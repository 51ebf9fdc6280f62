"""The real ComfyUI in this process, with this pack loaded as it loads any other."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from training.host import prepare_host

ROOT = Path(__file__).resolve().parent.parent


def host_nodes() -> dict[str, Any]:
    """Node classes by id, the host's and ours."""
    prepare_host()
    import nodes

    asyncio.run(nodes.init_public_apis())
    if not asyncio.run(nodes.load_custom_node(str(ROOT))):
        raise RuntimeError("ComfyUI could not load the pack; its log says why.")
    return nodes.NODE_CLASS_MAPPINGS
