"""The host's model_options dictionaries: a stage keeps its own and takes over what the sampler added."""

from __future__ import annotations

from typing import Any


def with_additions(own: dict[str, Any], before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """`own` plus what `now` has and `before` has not: new list items, new keys, changed values.

    Samplers change the options between guider and model call (the CFG++ samplers add a post-CFG function and switch
    the cfg 1 shortcut off), and they do so on the leading stage's options. No argument is changed; dictionaries and
    lists of the result are new, their items are shared.
    """
    merged = {key: _copied(value) for key, value in own.items()}
    for key, value in now.items():
        earlier = before.get(key)
        if isinstance(value, dict):
            base = merged.get(key)
            nested = with_additions(
                base if isinstance(base, dict) else {}, earlier if isinstance(earlier, dict) else {}, value
            )
            if nested or key not in before:
                merged[key] = nested
        elif isinstance(value, list):
            known = {id(item) for item in earlier} if isinstance(earlier, list) else set()
            added = [item for item in value if id(item) not in known]
            if added or key not in before:
                merged[key] = [*merged.get(key, []), *added]
        elif key not in before or value is not earlier:
            merged[key] = value
    return merged


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return list(value) if isinstance(value, list) else value
