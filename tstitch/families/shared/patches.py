"""Latents to patches and back."""

from __future__ import annotations

from torch import Tensor

from ...errors import StitchError


def token_grid(x: Tensor, patch: int, channels: int) -> tuple[int, int]:
    """Rows and columns of patches of a latent (N, C, H, W). Raises StitchError if it cannot be cut into patches."""
    check_channels(x, channels)
    height, width = x.shape[-2:]
    if height % patch or width % patch:
        raise StitchError(
            f"The latent is {height} x {width}, but this model cuts it into patches of {patch} x {patch}: use"
            f" sides that are multiples of {patch}."
        )
    return height // patch, width // patch


def check_channels(x: Tensor, channels: int) -> None:
    if x.ndim != 4 or x.shape[1] != channels:
        raise StitchError(f"The latent has shape {tuple(x.shape)}, but this model takes {channels} x H x W.")


def unpatchify(tokens: Tensor, height: int, width: int, patch: int) -> Tensor:
    """Puts tokens (N, height * width, patch * patch * C) together as a latent (N, C, height * patch, width * patch)."""
    x = tokens.unflatten(-1, (patch, patch, -1)).unflatten(1, (height, width))  # (N, h, w, p, p, C)
    return x.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)  # (N, C, h * p, w * p)
