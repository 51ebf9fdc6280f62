"""Reads DiT (arXiv 2212.09748), SiT (2401.08740), REPA (2410.06940) and Shortcut (2410.12557) weights.

The four share one backbone and its parameter names, so shapes show almost everything; the rest is an input.
"""

from __future__ import annotations

import json
import logging
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ...errors import StitchError
from ..shared.checkpoint import Checkpoint, check_weights, read_checkpoint, weight_of
from ..shared.model_file import ModelFile
from .flax import METADATA, read_shortcut_pickle
from .network import DiT, DiTConfig, sincos_position_embedding

logger = logging.getLogger("tstitch")


class Variant(NamedTuple):
    prediction: str  # "eps", "flow" (velocity noise - image) or "flow_from_noise" (velocity image - noise, 1 - t)
    guided_channels: int | None  # the latent channels its authors apply guidance to; None means all
    text: str


VARIANTS = {
    "DiT": Variant("eps", 3, "predicts noise"),
    "SiT": Variant("flow_from_noise", 3, "predicts velocity from noise to image"),
    "REPA": Variant("flow", None, "predicts velocity from image to noise"),
    "Shortcut": Variant("flow_from_noise", None, "predicts velocity for a step size"),
}
FAMILIES = "DiT, SiT, REPA, Shortcut or U-ViT model"
HEADS = {384: 6, 768: 12, 1024: 16, 1152: 16}  # of the published widths S, B, L and XL
HEAD_WIDTH = 64  # of all others
COMPUTED_AS_DIFFUSERS = "as diffusers does"
TRAINING_ONLY = "projectors."  # REPA's heads for representation alignment
#: What scripts of SiT and REPA call the process that `VARIANTS` describes; they can train others too.
TRAINED = {
    "SiT": {"path_type": "linear", "prediction": "velocity"},
    "REPA": {"path_type": "linear", "prediction": "v"},
}
_NAME = re.compile(r"(?<![a-z])(repa|sit|shortcut|dit)(?![a-z])")


@dataclass(frozen=True)
class DiTWeights:
    config: DiTConfig
    state: dict[str, Tensor]
    variant: Variant
    description: str
    facts: dict[str, str]  # what a saved file must tell besides the weights


def read_dit(file: str | Path | ModelFile, variant: str = "auto", heads: int = 0) -> DiTWeights:
    """A DiT of any of the four kinds. `heads` 0 takes the published number. Raises StitchError."""
    file = ModelFile.of(file)
    return interpret_dit(read_transformer(file), file.path, variant, heads)


def read_transformer(file: str | Path | ModelFile) -> Checkpoint:
    """The weights of a file that may hold any transformer of this pack. Raises StitchError."""
    file = ModelFile.of(file)
    if file.path.suffix.lower() == ".pkl":
        return Checkpoint(file.name, read_shortcut_pickle(file), METADATA)
    return read_checkpoint(file)


def interpret_dit(checkpoint: Checkpoint, path: Path, variant: str = "auto", heads: int = 0) -> DiTWeights:
    """What a checkpoint read from `path` holds. Raises StitchError."""
    if variant not in ("auto", *VARIANTS):
        raise StitchError(f"The file {checkpoint.name} is no U-ViT, but prediction is {variant}: choose auto.")
    found, reason = detect_variant(checkpoint) if variant == "auto" else (variant, "chosen")
    check_training(checkpoint, found)
    state = {key: value for key, value in checkpoint.state.items() if not key.startswith(TRAINING_ONLY)}
    published = "transformer_blocks.0.norm1.linear.weight" in state  # in the layout of diffusers
    diffusers = published or checkpoint.metadata.get("tstitch.computed") == COMPUTED_AS_DIFFUSERS
    state = from_diffusers(state, checkpoint.name) if published else join_decoder(state)
    checkpoint = replace(checkpoint, state=state)
    beside = read_diffusers_config(path) if published else {}
    config = infer_config(checkpoint, heads or beside.get("num_attention_heads", 0), diffusers)
    if diffusers and beside.get("sample_size"):
        config = replace(config, grid=beside["sample_size"] // config.patch)
    if config.shortcut != (found == "Shortcut"):
        has = "a step-size embedder, as only Shortcut models have" if config.shortcut else "no step-size embedder"
        raise StitchError(f"The file {checkpoint.name} has {has}, but prediction is {found}: choose auto.")
    if not config.stored_position:
        checkpoint.state.pop("pos_embed", None)
    check_weights(checkpoint, weight_shapes(config), "DiT")
    description = _describe(config, found, reason)
    logger.info("%s: %s", checkpoint.name, description)
    facts = {"tstitch.variant": found, "tstitch.heads": str(config.heads), "tstitch.grid": str(config.grid)}
    if diffusers:
        facts["tstitch.computed"] = COMPUTED_AS_DIFFUSERS
    return DiTWeights(config, checkpoint.state, VARIANTS[found], description, facts)


def read_diffusers_config(path: Path) -> dict[str, int]:
    """Contents of the config.json that diffusers keeps beside a model's weights; empty without one."""
    try:
        content = json.loads(path.with_name("config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict) or content.get("_class_name") != "DiTTransformer2DModel":
        return {}
    return {key: content[key] for key in ("num_attention_heads", "sample_size") if isinstance(content.get(key), int)}


def detect_variant(checkpoint: Checkpoint) -> tuple[str, str]:
    """Kind of DiT and how it was detected; noise prediction by default, because DiT and SiT share all names."""
    names = {name.lower(): name for name in VARIANTS}
    for key in ("tstitch.variant", "modelspec.architecture"):
        if found := _NAME.search(checkpoint.metadata.get(key, "").lower()):
            return names[found[1]], f"from its metadata {key}"
    if any(key.startswith("dt_embedder.") for key in checkpoint.state):
        return "Shortcut", "from its step-size embedder"
    if any(key.startswith(TRAINING_ONLY) for key in checkpoint.state):
        return "REPA", "from its projectors"
    if trained := _NAME.search(checkpoint.metadata.get("args.model", "").lower()):
        # REPA's scripts name the backbone, SiT, and the encoder that it is aligned with.
        name = "repa" if "args.enc_type" in checkpoint.metadata else trained[1]
        return names[name], "from its training arguments"
    found_names = _NAME.findall(checkpoint.name.lower())
    for name in ("repa", "sit", "dit"):
        if name in found_names:
            return names[name], "from the file's name"
    return "DiT", "assumed: set prediction if pictures stay noise"


def check_training(checkpoint: Checkpoint, variant: str) -> None:
    """Raise StitchError where a SiT's training arguments name another process than the published one."""
    if variant not in TRAINED:
        return
    for name, accepted in TRAINED[variant].items():
        value = checkpoint.metadata.get(f"args.{name}", accepted)
        if value.lower() != accepted:
            raise StitchError(
                f"The file {checkpoint.name} was trained with {name} {value}, but this node draws {variant} models with"
                f" {name} {accepted}: choose a file that was trained so."
            )


def infer_config(checkpoint: Checkpoint, heads: int = 0, diffusers: bool = False) -> DiTConfig:
    """The network's shape, from the weights' shapes. Raises StitchError where they are no DiT's."""
    state = checkpoint.state
    patches, table, output = (
        weight_of(checkpoint, f"{stem}.weight", ndim, FAMILIES)
        for stem, ndim in (("x_embedder.proj", 4), ("y_embedder.embedding_table", 2), ("final_layer.linear", 2))
    )
    width, channels, patch, _ = patches.shape
    outputs = output.shape[0] / patch**2 / channels
    if outputs not in (1, 2):
        raise StitchError(
            f"The file {checkpoint.name} is no valid DiT: it has {output.shape[0]} outputs per patch, where {channels}"
            f" channels and patches of {patch} make {channels * patch**2}, or twice that with learned sigma."
        )
    position = state.get("pos_embed")
    grid = _grid(checkpoint, position, width)
    return DiTConfig(
        depth=len({key.split(".")[1] for key in state if key.startswith("blocks.")}),
        width=width,
        heads=published_heads(checkpoint, width, heads),
        patch=patch,
        channels=channels,
        classes=table.shape[0] - 1,
        grid=grid,
        learn_sigma=outputs == 2,
        stored_position=position is not None and not _is_sincos(position, grid),
        shortcut="dt_embedder.mlp.0.weight" in state,
        diffusers=diffusers,
        block_embedders="embedders.0.t_embedder.mlp.0.weight" in state,
    )


def from_diffusers(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Renames the weights of diffusers' DiTTransformer2DModel, whose blocks all hold a copy of the embedders."""
    blocks = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("transformer_blocks."))
    names = {
        "pos_embed.proj": "x_embedder.proj",
        "proj_out_1": "final_layer.adaLN_modulation.1",
        "proj_out_2": "final_layer.linear",
    }
    for index in range(blocks):
        old, new = f"transformer_blocks.{index}", f"blocks.{index}"
        embedders = f"embedders.{index - 1}." if index else ""
        names |= {
            f"{old}.norm1.emb.timestep_embedder.linear_1": f"{embedders}t_embedder.mlp.0",
            f"{old}.norm1.emb.timestep_embedder.linear_2": f"{embedders}t_embedder.mlp.2",
            f"{old}.norm1.emb.class_embedder.embedding_table": f"{embedders}y_embedder.embedding_table",
            f"{old}.norm1.linear": f"{new}.adaLN_modulation.1",
            f"{old}.attn1.to_out.0": f"{new}.attn.proj",
            f"{old}.ff.net.0.proj": f"{new}.mlp.fc1",
            f"{old}.ff.net.2": f"{new}.mlp.fc2",
        }
    renamed = {}
    for key, value in state.items():
        stem, _, part = key.rpartition(".")
        if ".attn1.to_q" in stem:
            query_key_value = [state.get(key.replace("to_q", other)) for other in ("to_q", "to_k", "to_v")]
            if any(tensor is None for tensor in query_key_value):
                raise StitchError(f"The file {name} is no complete DiT: it lacks the keys or values of {stem}.")
            target = stem.replace("transformer_blocks", "blocks").replace("attn1.to_q", "attn.qkv")
            renamed[f"{target}.{part}"] = torch.cat([tensor for tensor in query_key_value if tensor is not None])
        elif ".attn1.to_k" not in stem and ".attn1.to_v" not in stem and key != "pos_embed.pos_embed":
            renamed[f"{names.get(stem, stem)}.{part}"] = value
    return _share_embedders(renamed)


def join_decoder(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Renumbers the `decoder_blocks` of REPA's first files, which count from 0 after the aligned layer."""
    first = len({key.split(".")[1] for key in state if key.startswith("blocks.")})
    joined = {}
    for key, value in state.items():
        if found := re.match(r"decoder_blocks\.(\d+)\.(.+)", key):
            key = f"blocks.{first + int(found[1])}.{found[2]}"
        joined[key] = value
    return joined


def _share_embedders(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """One set of embedders if all blocks hold the same, as in files converted from the original weights."""
    copies = [key for key in state if key.startswith("embedders.")]
    if all(_same(state[key], state.get(key.split(".", 2)[2])) for key in copies):
        return {key: value for key, value in state.items() if key not in copies}
    return state


def _same(first: Tensor, second: Tensor | None) -> bool:
    return second is not None and first.shape == second.shape and torch.equal(first.float(), second.float())


def published_heads(checkpoint: Checkpoint, width: int, heads: int) -> int:
    """`heads`; if 0, those stored in the file, else those published for this width. Raises StitchError."""
    heads = heads or checkpoint.number("tstitch.heads") or HEADS.get(width, width // HEAD_WIDTH)
    if heads == 0 or width % heads:
        raise StitchError(
            f"The file {checkpoint.name} is {width} wide, which {heads} attention heads cannot share: set heads to the"
            " number it was trained with."
        )
    return heads


def _grid(checkpoint: Checkpoint, position: Tensor | None, width: int) -> int:
    if position is None:
        return checkpoint.number("tstitch.grid")
    side = math.isqrt(position.shape[1]) if position.ndim == 3 else 0
    if side == 0 or position.shape != (1, side**2, width):
        raise StitchError(
            f"The file {checkpoint.name} is no valid DiT: pos_embed has the shape {tuple(position.shape)}, not that of"
            f" a square grid {width} wide."
        )
    return side


def _is_sincos(position: Tensor, grid: int) -> bool:
    """Whether a stored position embedding is the fixed one, to the precision of its dtype."""
    tolerance = 1e-4 if position.dtype == torch.float32 else 0.07
    width = position.shape[-1]
    return width % 4 == 0 and torch.allclose(
        position.float(), sincos_position_embedding(width, grid, grid), rtol=0, atol=tolerance
    )


def weight_shapes(config: DiTConfig) -> dict[str, tuple[int, ...]]:
    skeleton = DiT(config, lambda q, k, v, heads: v, device="meta")
    return {key: tuple(value.shape) for key, value in skeleton.state_dict().items()}


def _describe(config: DiTConfig, variant: str, reason: str) -> str:
    size = f", {config.size} x {config.size} latents" if config.size else ""
    return (
        f"{variant} ({reason}; {VARIANTS[variant].text}): {config.depth} blocks, {config.width} wide, {config.heads}"
        f" heads, patch {config.patch}, {config.classes} classes{size}"
    )
