"""The host's attention, as the networks of this pack call it."""

from __future__ import annotations

import inspect
from typing import Any

from comfy.ldm.modules.attention import optimized_attention
from torch import Tensor

#: Newer hosts let other nodes replace the attention of a model by its transformer_options.
ATTENTION_TAKES_OPTIONS = any(
    parameter.kind is inspect.Parameter.VAR_KEYWORD
    for parameter in inspect.signature(optimized_attention).parameters.values()
)


def host_attention(q: Tensor, k: Tensor, v: Tensor, heads: int, **options: Any) -> Tensor:
    return optimized_attention(q, k, v, heads, **(options if ATTENTION_TAKES_OPTIONS else {}))
