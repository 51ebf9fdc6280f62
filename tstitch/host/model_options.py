"""The host's model_options: each stage has its own, plus what the sampler added to the lead's."""

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


# --- What belongs to the whole run ------------------------------------------------------------------------------------

#: Options that act on predictions, not inside the network, so they fit any model.
OF_THE_RUN = (
    "sampler_cfg_function",
    "sampler_pre_cfg_function",
    "sampler_post_cfg_function",
    "sampler_calc_cond_batch_function",
    "disable_cfg1_optimization",
    "denoise_mask_function",
    "context_handler",
)
SNAPSHOTS = "tstitch_joined"


def remember_options(options: dict[str, Any]) -> str:
    """Store a snapshot in the `options` of a joined MODEL, and return its name.

    A MODEL may be joined several times, so the name is the number of the join. The snapshot is part of the options,
    so that the deep copy of the host's `clone` keeps both consistent.
    """
    noted = {key: options[key] for key in OF_THE_RUN if key in options}
    patches = {
        key: _copied(options.get("transformer_options", {}).get(key, {})) for key in ("patches", "patches_replace")
    }
    snapshot = with_additions({}, {}, {**noted, "transformer_options": patches})
    earlier = options.get(SNAPSHOTS, {})
    join = f"join {len(earlier) + 1}"
    options[SNAPSHOTS] = {**earlier, join: snapshot}
    return join


def is_stitched(model: Any) -> bool:
    """Whether a MODEL is made of several."""
    return bool(model.model_options.get(SNAPSHOTS))


def added_after(options: dict[str, Any], join: str) -> tuple[dict[str, Any], bool]:
    """What was put on the joined MODEL since `remember_options` and belongs to the whole run.

    The second value: whether patches inside the network were added too. Guidance functions may need them (as
    SelfAttentionGuidance's), so they are then left to the finishing model, whose network the patches are made for.
    """
    snapshot = options.get(SNAPSHOTS, {}).get(join)
    if snapshot is None:
        return {}, False
    now = {key: options[key] for key in OF_THE_RUN if key in options}
    added = with_additions({}, {key: value for key, value in snapshot.items() if key in OF_THE_RUN}, now)
    added = {key: value for key, value in added.items() if value != []}
    before, patches = snapshot["transformer_options"], options.get("transformer_options", {})
    patched = any(
        bool(leaves(with_additions({}, before[key], patches.get(key, {})))) for key in ("patches", "patches_replace")
    )
    return added, patched


def leaves(options: dict[str, Any]) -> list[Any]:
    """All values in nested dictionaries and lists."""
    found: list[Any] = []
    for value in options.values():
        found += leaves(value) if isinstance(value, dict) else value if isinstance(value, list) else [value]
    return found
