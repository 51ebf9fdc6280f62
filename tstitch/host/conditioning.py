"""Each stage gets its own copy of conditioning objects on which the host stores run state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def own_conditioning(conds: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """A copy of a guider's `conds` with its own ControlNets and hooks; objects shared within `conds` stay shared.

    At set-up the host stores the model's sampling on ControlNets and the current keyframe on hooks.
    """
    known: dict[int, Any] = {}
    return {name: [_own(cond, known) for cond in items] for name, items in conds.items()}


def patchable(patcher: Any, conds: dict[str, list[dict[str, Any]]]) -> Any:
    """`patcher`, or its non-dynamic form if hooks patch its weights (`non_dynamic_if_hooked`)."""
    if not hasattr(patcher, "is_dynamic") or not patcher.is_dynamic():
        return patcher
    hooked = any(cond.get("hooks") is not None for items in conds.values() for cond in items)
    hooked = hooked or any(control.extra_hooks is not None for control in controls_of(conds))
    return patcher.get_non_dynamic_delegate() if hooked else patcher


def controls_of(conds: dict[str, list[dict[str, Any]]]) -> Iterator[Any]:
    """Every ControlNet in `conds`, chained ones too."""
    for items in conds.values():
        for cond in items:
            control = cond.get("control")
            while control is not None:
                yield control
                control = control.previous_controlnet


def keyframes_of(conds: dict[str, list[dict[str, Any]]]) -> list[Any]:
    """The groups of keyframes that time the hooks in `conds`."""
    groups = [cond["hooks"] for items in conds.values() for cond in items if cond.get("hooks") is not None]
    found = {id(hook.hook_keyframe): hook.hook_keyframe for group in groups for hook in group.hooks}
    return [keyframes for keyframes in found.values() if not keyframes.is_empty()]


def _own(cond: dict[str, Any], known: dict[int, Any]) -> dict[str, Any]:
    cond = cond.copy()
    if cond.get("control") is not None:
        cond["control"] = _own_control(cond["control"], known)
    if cond.get("hooks") is not None:
        cond["hooks"] = _own_hooks(cond["hooks"], known)
    return cond


def _own_control(control: Any, known: dict[int, Any]) -> Any:
    if id(control) not in known:
        own = known[id(control)] = control.copy()
        if control.previous_controlnet is not None:
            own.set_previous_controlnet(_own_control(control.previous_controlnet, known))
        if control.extra_hooks is not None:
            own.extra_hooks = _own_hooks(control.extra_hooks, known)
    return known[id(control)]


def _own_hooks(hooks: Any, known: dict[int, Any]) -> Any:
    if id(hooks) not in known:
        own = known[id(hooks)] = hooks.clone()
        for hook in own.hooks:
            keyframe = hook.hook_keyframe  # the host's clones share it
            if id(keyframe) not in known:
                known[id(keyframe)] = keyframe.clone()
            hook.hook_keyframe = known[id(keyframe)]
    return known[id(hooks)]
