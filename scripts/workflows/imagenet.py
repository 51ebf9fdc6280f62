"""The papers' models of ImageNet."""

from __future__ import annotations

from typing import Any

from scripts.graph import Graph
from scripts.model_files import (
    DIT_B,
    DIT_S,
    DIT_XL,
    LDM,
    LDM_S,
    SHORTCUT,
    U_VIT_H,
)
from scripts.workflows.parts import class_label, dit, ksampler, prose, sd_vae, show, stock_inputs, tstitch

IMAGENET = "golden retriever, macaw, balloon, volcano"
IMAGENET_STEPS: dict[str, Any] = {"steps": 50, "cfg": 1.5, "sampler_name": "ddim", "scheduler": "ddim_uniform"}


def dit_s_dit_xl() -> Graph:
    graph = Graph(
        "dit_s_dit_xl",
        "DiT-S and DiT-XL on ImageNet",
        prose("""
            The main pair of the T-Stitch paper: DiT-S draws the first 40 % of the steps, DiT-XL the rest, at 256 x
            256 pixels. The paper measures 1.5 times the speed at no loss of FID.

            Choose the classes in **Class Label**, by name or number.
            """),
    )
    graph.column("Models")
    large = dit(graph, DIT_XL, "DiT-XL (finishes)")
    small = dit(graph, DIT_S, "DiT-S (starts)")
    vae = sd_vae(graph)
    graph.column()
    label = class_label(graph, large, IMAGENET)
    graph.column()
    sampler = tstitch(graph, large["MODEL"], small["MODEL"], **stock_inputs(label), **IMAGENET_STEPS)
    show(graph, sampler["LATENT"], vae["VAE"], "dit")
    return graph


def dit_s_b_xl() -> Graph:
    graph = Graph(
        "dit_s_b_xl",
        "DiT-S, DiT-B and DiT-XL",
        prose("""
            Three models in one trajectory, as in the paper's three-model trade-off: S runs until 30 % of the steps, B
            until 60 %, XL the rest. Change **splits** to trade quality for speed.
            """),
    )
    graph.column("Models")
    large = dit(graph, DIT_XL, "DiT-XL (finishes)")
    small = dit(graph, DIT_S, "DiT-S (starts)")
    middle = dit(graph, DIT_B, "DiT-B (in the middle)")
    vae = sd_vae(graph)
    graph.column()
    joined = graph.add(
        "TStitchModelSchedule",
        final_model=large["MODEL"],
        model_1=small["MODEL"],
        model_2=middle["MODEL"],
        splits="0.3, 0.6",
    )
    label = class_label(graph, large, IMAGENET)
    graph.column()
    sampler = ksampler(graph, joined["MODEL"], label, **IMAGENET_STEPS)
    show(graph, sampler["LATENT"], vae["VAE"], "dit_three")
    return graph


def dit_s_u_vit() -> Graph:
    graph = Graph(
        "dit_s_u_vit",
        "DiT-S and U-ViT-H",
        prose("""
            Two architectures that were trained on the same latents, and a pair of the paper: DiT-S draws the first
            30 %, U-ViT-H finishes. Their noise schedules differ a little; the latents are
            converted exactly where they meet.
            """),
    )
    graph.column("Models")
    large = dit(graph, U_VIT_H, "U-ViT-H (finishes)")
    small = dit(graph, DIT_S, "DiT-S (starts)")
    vae = sd_vae(graph)
    graph.column()
    label = class_label(graph, large, IMAGENET)
    graph.column()
    steps: dict[str, Any] = {"steps": 50, "cfg": 1.4, "sampler_name": "dpmpp_2m", "scheduler": "normal"}
    sampler = tstitch(graph, large["MODEL"], small["MODEL"], 0.3, **stock_inputs(label), **steps)
    show(graph, sampler["LATENT"], vae["VAE"], "dit_u_vit")
    return graph


def ldm_s_ldm() -> Graph:
    graph = Graph(
        "ldm_s_ldm",
        "LDM-S and LDM on ImageNet",
        prose("""
            The U-Net pair of the T-Stitch paper: LDM-S draws the first 40 % of the steps, LDM the rest, at 256 x 256
            pixels. The paper measures a better FID at 0.4 than that of LDM alone.

            VAE, labels and latent come from the loader of LDM. Where its file has no VAE of its own, put vq-f8 into
            `models/vae` and choose it in **first_stage**.
            """),
    )
    graph.column("Models")
    large = graph.add("TStitchLoadLDM", "LDM (finishes)", [LDM], ldm_name=LDM.name, labels=IMAGENET)
    small = graph.add("TStitchLoadLDM", "LDM-S (starts)", [LDM_S], ldm_name=LDM_S.name, labels=IMAGENET)
    graph.column()
    steps: dict[str, Any] = {**IMAGENET_STEPS, "cfg": 3.0}
    sampler = tstitch(graph, large["MODEL"], small["MODEL"], **stock_inputs(large), **steps)
    show(graph, sampler["LATENT"], large["VAE"], "ldm")
    return graph


def shortcut_4_steps() -> Graph:
    graph = Graph(
        "shortcut_4_steps",
        "A Shortcut model at 4 steps",
        prose("""
            A Shortcut model is told how large each step is, so it draws in 4 steps what others need 50 for; 1, 2, 4,
            8 ... 128 steps work. Use **euler** and **simple**, and cfg 1: the guidance is trained in.

            Its authors publish pickles of JAX arrays. `python -m scripts.convert_shortcut FILE`, in the pack's
            repository, makes the safetensors file that is named here; Load DiT also reads the pickle itself, without
            running code in it.
            """),
    )
    graph.column("Model")
    model = dit(graph, SHORTCUT, "Shortcut DiT-XL", prediction="Shortcut")
    vae = sd_vae(graph)
    graph.column()
    label = class_label(graph, model, IMAGENET)
    graph.column()
    sampler = ksampler(graph, model["MODEL"], label, steps=4, cfg=1.0, sampler_name="euler")
    show(graph, sampler["LATENT"], vae["VAE"], "shortcut")
    return graph
