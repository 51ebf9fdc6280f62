"""Conditioning and masks that lie over a latent, at the size of a smaller one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional as F

#: Conditioning that the host makes as large as the latent itself, or that has a size of its own.
LEFT_TO_THE_HOST = ("concat_latent_image", "concat_mask", "concat_image", "mask", "denoise_mask", "reference_latents")
#: In pixels of the picture.
OF_PIXELS = ("camera_conditions",)


def fitted(entry: dict[str, Any], full: Sequence[int], small: Sequence[int], network: Any = None) -> dict[str, Any]:
    """An entry of conditioning for latents of height and width `small`, in place of `full`, read by `network`."""
    return Fitting(full, small, network)(entry)


class Fitting:
    """Makes entries of conditioning as small as the latent, and what several of them share once."""

    def __init__(self, full: Sequence[int], small: Sequence[int], network: Any = None) -> None:
        self._full, self._small = (full[0], full[1]), (small[0], small[1])
        self._left = _left_to_the_host(network)
        self._known: dict[int, tuple[Tensor, Tensor]] = {}  # by the original, which is kept so that none takes its id

    def __call__(self, entry: dict[str, Any]) -> dict[str, Any]:
        factors = self._small[0] / self._full[0], self._small[1] / self._full[1]
        entry = {key: value if key in self._left else self._over_frames(key, value) for key, value in entry.items()}
        area = entry.get("area")
        if area is not None and area[0] != "percentage":
            sides = len(area) // 2
            by_side = [1.0] * (sides - 2) + list(factors)  # frames before height and width
            sizes = [max(1, round(value * factor)) for value, factor in zip(area[:sides], by_side, strict=True)]
            places = [round(value * factor) for value, factor in zip(area[sides:], by_side, strict=True)]
            entry["area"] = (*sizes, *places)
        if "gligen" in entry:
            kind, model, boxes = entry["gligen"]
            entry["gligen"] = (kind, model, [(box[0], *_scaled_box(box[1:], factors)) for box in boxes])
        if "keyframe_idxs" in entry:
            entry["keyframe_idxs"] = self._places_of_tokens(entry["keyframe_idxs"])
        return entry

    def _over_frames(self, key: str, value: Any) -> Any:
        """`value` smaller where it is laid over the latent place by place (VACE, camera, pose)."""
        if isinstance(value, list):
            return [self._over_frames(key, item) for item in value] if _any_tensor(value) else value
        if not isinstance(value, Tensor) or value.ndim < 4:
            return value
        height, width = self._full
        pixels = value.shape[-2] // height if key in OF_PIXELS else 1
        if pixels < 1 or tuple(value.shape[-2:]) != (height * pixels, width * pixels):
            return value
        if id(value) not in self._known:
            size = (self._small[0] * pixels, self._small[1] * pixels)
            self._known[id(value)] = value, by_area(value, size).to(value.dtype)
        return self._known[id(value)][1]

    def _places_of_tokens(self, places: Any) -> Any:
        """Of the guiding frames of LTX-Video (N, 3, frames * H * W, ...), which counts from the upper left corner."""
        (height, width), (h, w) = self._full, self._small
        if not isinstance(places, Tensor) or places.ndim < 3 or places.shape[2] % (height * width):
            return places
        grid = places.reshape(*places.shape[:2], -1, height, width, *places.shape[3:])
        return grid[:, :, :, :h, :w].flatten(2, 4)


def _left_to_the_host(network: Any) -> tuple[str, ...]:
    """Less what this network lays over the latent as it is: the reference of Wan Fun, the picture of HiDream."""
    laid_over = set()
    if getattr(network, "ref_conv", None) is not None:
        laid_over.add("reference_latents")
    if type(network).__name__.startswith("HiDream"):
        laid_over.add("concat_latent_image")
    return tuple(key for key in LEFT_TO_THE_HOST if key not in laid_over)


def _any_tensor(values: Sequence[Any]) -> bool:
    return any(isinstance(value, Tensor) for value in values)


def _scaled_box(box: Sequence[float], factors: tuple[float, float]) -> tuple[int, ...]:
    h, w, y, x = box
    down, across = factors
    return max(1, round(h * down)), max(1, round(w * across)), round(y * down), round(x * across)


def by_area(values: Tensor, small: tuple[int, int]) -> Tensor:
    """A mask (..., H, W) of any size, or other values, averaged over the pixels of the smaller latent."""
    if values.ndim < 3:
        return by_area(values[None], small)[0]
    flat = values.reshape(-1, 1, *values.shape[-2:]).float()
    return F.adaptive_avg_pool2d(flat, small).reshape(*values.shape[:-2], *small)
