"""The real ComfyUI in this process, with this pack loaded as it loads any other."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from benchmarks.tools.results import ROOT
from training.host import prepare_host


def host_nodes(*extras: str) -> dict[str, Any]:
    """Node classes by id, the host's and ours; `extras` names modules of `comfy_extras` whose nodes are wanted too."""
    prepare_host()
    import nodes

    asyncio.run(nodes.init_public_apis())
    folder = Path(nodes.__file__).parent / "comfy_extras"
    for path in (*(folder / f"{name}.py" for name in extras), ROOT):
        if not asyncio.run(nodes.load_custom_node(str(path))):
            raise RuntimeError(f"ComfyUI could not load {path.name}; its log says why.")
    return nodes.NODE_CLASS_MAPPINGS
