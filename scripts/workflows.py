"""`python -m scripts.workflows`: writes workflows/*.json from the descriptions below."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scripts.client import Client
from scripts.graph import Graph, ModelFile, Node, Output
from scripts.model_files import (
    BK_SDM_TINY,
    CANNY,
    CLIP_L,
    DIT_B,
    DIT_S,
    DIT_XL,
    FLUX,
    FLUX_VAE,
    GEMMA,
    INKPUNK,
    LCM_SDXL,
    LCM_SSD_1B,
    LDM,
    LDM_S,
    LUMINA,
    SD14,
    SD_VAE,
    SDXL,
    SDXL_REFINER,
    SHORTCUT,
    SSD_1B,
    T5,
    U_VIT_H,
    WAN_HIGH,
    WAN_LARGE,
    WAN_LIGHTNING,
    WAN_LOW,
    WAN_SMALL,
    WAN_TEXT,
    WAN_VAE,
)
from scripts.server import free_port, running_server
from scripts.workflow import Json

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "workflows"
PHOTO = "a photo of a lighthouse on a cliff above a stormy sea, golden hour, highly detailed"
BAD = "blurry, low quality, watermark, text"


def prose(text: str) -> str:
    """Paragraphs with blank lines between, each on one line."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


# --- Parts that several graphs share ---------------------------------------------------------------------------------


def starter(graph: Graph, model: str, title: str, labels: str = "all") -> Node:
    return graph.add("TStitchLoadStarter", title, model=model, labels=labels)


def show(graph: Graph, samples: Output, vae: Output, prefix: str, scale: float = 0) -> None:
    """Decode and save; starter pictures are enlarged, or nobody sees them."""
    graph.column()
    image = graph.add("VAEDecode", samples=samples, vae=vae)["IMAGE"]
    if scale:
        image = graph.add("ImageScaleBy", image=image, upscale_method="lanczos", scale_by=scale)["IMAGE"]
    graph.column()
    graph.add("SaveImage", images=image, filename_prefix=f"tstitch/{prefix}")


def two_rows(graph: Graph, vae: Output, rows: dict[str, Node], prefix: str) -> None:
    """The pictures of two samplers below each other, enlarged and saved; `rows` by the titles of the decoders."""
    graph.column()
    images = [
        graph.add("VAEDecode", title, samples=sampler["LATENT"], vae=vae)["IMAGE"] for title, sampler in rows.items()
    ]
    both = graph.add("ImageBatch", image1=images[0], image2=images[1])
    scaled = graph.add("ImageScaleBy", image=both["IMAGE"], upscale_method="lanczos", scale_by=2)
    graph.column()
    graph.add("SaveImage", images=scaled["IMAGE"], filename_prefix=f"tstitch/{prefix}")


def ksampler(graph: Graph, model: Output, source: Node, seed: int = 7, **more: Any) -> Node:
    """The host's sampler with the conditioning and the latent of `source`."""
    wanted: dict[str, Any] = {
        "positive": source["positive"],
        "negative": source["negative"],
        "latent_image": source["LATENT"],
    }
    usual: dict[str, Any] = {"steps": 20, "cfg": 1.5, "sampler_name": "dpmpp_2m", "scheduler": "simple", "denoise": 1.0}
    return graph.add("KSampler", model=model, seed=seed, **{**wanted, **usual, **more})


def tstitch(graph: Graph, large: Output, small: Output, fraction: float = 0.4, **more: Any) -> Node:
    usual: dict[str, Any] = {
        "seed": 7,
        "steps": 20,
        "cfg": 1.5,
        "sampler_name": "euler",
        "scheduler": "simple",
        "denoise": 1.0,
    }
    return graph.add("TStitchKSampler", model=large, small_model=small, fraction=fraction, **{**usual, **more})


def prompts(graph: Graph, clip: Output, positive: str, negative: str = BAD) -> tuple[Node, Node]:
    return (
        graph.add("CLIPTextEncode", "Prompt", clip=clip, text=positive),
        graph.add("CLIPTextEncode", "Negative prompt", clip=clip, text=negative),
    )


def checkpoint(graph: Graph, file: ModelFile, title: str) -> Node:
    return graph.add("CheckpointLoaderSimple", title, [file], ckpt_name=file.name)


def dit(graph: Graph, file: ModelFile, title: str, **more: Any) -> Node:
    return graph.add("TStitchLoadDiT", title, [file], dit_name=file.name, **more)


def class_label(graph: Graph, model: Node, labels: str) -> Node:
    return graph.add("TStitchClassLabel", "What to draw", model=model["MODEL"], labels=labels)


def sd_vae(graph: Graph) -> Node:
    return graph.add("VAELoader", models=[SD_VAE], vae_name=SD_VAE.name)


def stock_inputs(label: Node) -> dict[str, Any]:
    return {"positive": label["positive"], "negative": label["negative"], "latent_image": label["LATENT"]}


# --- Starter models --------------------------------------------------------------------------------------------------


SOME_STYLES = "Adventurer, Big Smile, Micah, Open Peeps, Toon Head"


def starter_tstitch() -> Graph:
    graph = Graph(
        "starter_tstitch",
        "T-Stitch with two models",
        prose("""
            The small model **S** draws the first 40 % of the steps, the large **XL** finishes, in one sampling loop.

            Queue it: ten avatars, one in each style (64 x 64 pixels, shown at twice their size). Nothing has to be
            downloaded; the models come with the pack.

            Then change **fraction**: 0 is XL alone, 1 is S alone. The seed and the noise stay the same, so the
            pictures can be compared. The **report** output tells which model ran which step, and how long.
            """),
    )
    graph.column()
    large = starter(graph, "XL", "Large model (finishes)")
    small = starter(graph, "S", "Small model (starts)")
    graph.column()
    sampler = tstitch(graph, large["MODEL"], small["MODEL"], **stock_inputs(large))
    show(graph, sampler["LATENT"], large["VAE"], "starter", scale=2)
    return graph


def starter_three_models() -> Graph:
    graph = Graph(
        "starter_three_models",
        "Three models in a stock KSampler",
        prose("""
            **Multi-Model Schedule** joins S, B and XL into one MODEL: S runs the first 30 % of the steps, B until 60
            %, XL the rest. The result works in any node that takes a MODEL: the stock KSampler here.

            The splits are `0.3, 0.6`. Write a **pattern** instead, such as `1x6 2x6 3x8`, to choose the model of each
            step. Nothing has to be downloaded.
            """),
    )
    graph.column()
    large = starter(graph, "XL", "XL (finishes)")
    small = starter(graph, "S", "S (starts)")
    middle = starter(graph, "B", "B (in the middle)")
    graph.column()
    joined = graph.add(
        "TStitchModelSchedule",
        final_model=large["MODEL"],
        model_1=small["MODEL"],
        model_2=middle["MODEL"],
        splits="0.3, 0.6",
    )
    graph.column()
    sampler = ksampler(graph, joined["MODEL"], large, sampler_name="euler")
    show(graph, sampler["LATENT"], large["VAE"], "three_models", scale=2)
    return graph


def starter_schedule() -> Graph:
    graph = Graph(
        "starter_schedule",
        "A stitched MODEL in the stock KSampler",
        prose("""
            **Multi-Model Schedule** turns S and XL into one MODEL; the sampler behind it is the stock one. The upper
            KSampler uses the stitched MODEL, the lower one XL alone, with one seed: compare the two rows.

            dpmpp_2m is a multistep sampler: it keeps its history over the switch, which two chained samplers would
            lose.

            Nothing has to be downloaded: the models come with the pack, and draw avatars in 64 x 64 pixels.
            """),
    )
    graph.column()
    large = starter(graph, "XL", "XL (finishes)", SOME_STYLES)
    small = starter(graph, "S", "S (starts)")
    graph.column()
    joined = graph.add("TStitchModelSchedule", final_model=large["MODEL"], model_1=small["MODEL"], splits="0.4")
    graph.column()
    stitched = ksampler(graph, joined["MODEL"], large)
    alone = ksampler(graph, large["MODEL"], large)
    two_rows(graph, large["VAE"], {"Stitched": stitched, "XL alone": alone}, "schedule")
    return graph


def starter_guiders() -> Graph:
    graph = Graph(
        "starter_guiders",
        "Each stage with its own prompt and cfg",
        prose("""
            **Stitch Guiders** joins two guiders for SamplerCustomAdvanced. S starts with the style Personas, at cfg 1,
            which costs one model call per step instead of two. XL finishes with five other styles, at cfg 2.

            The outline comes from the first prompt, what it turns into from the second. Move **splits** between 0.1
            and 0.5 to see who decides what.

            Nothing has to be downloaded: the models come with the pack, and draw avatars in 64 x 64 pixels.
            """),
    )
    graph.column("Starts: S, cfg 1")
    small = starter(graph, "S", "S (starts)", ", ".join(["Personas"] * 5))
    first = graph.add("BasicGuider", "Guider of S", model=small["MODEL"], conditioning=small["positive"])
    graph.column("Finishes: XL, cfg 2")
    large = starter(graph, "XL", "XL (finishes)", "Adventurer, Miniavs, Open Peeps, Pixel Art, Toon Head")
    final = graph.add(
        "CFGGuider",
        "Guider of XL",
        model=large["MODEL"],
        positive=large["positive"],
        negative=large["negative"],
        cfg=2.0,
    )
    graph.column()
    joined = graph.add("TStitchGuiders", final_guider=final["GUIDER"], guider_1=first["GUIDER"], splits="0.25")
    noise = graph.add("RandomNoise", noise_seed=3)
    sampler = graph.add("KSamplerSelect", sampler_name="euler")
    sigmas = graph.add("BasicScheduler", model=large["MODEL"], scheduler="simple", steps=20, denoise=1.0)
    graph.column()
    run = graph.add(
        "SamplerCustomAdvanced",
        noise=noise["NOISE"],
        guider=joined["GUIDER"],
        sampler=sampler["SAMPLER"],
        sigmas=sigmas["SIGMAS"],
        latent_image=large["LATENT"],
    )
    show(graph, run["output"], large["VAE"], "guiders", scale=2)
    return graph


def starter_img2img() -> Graph:
    graph = Graph(
        "starter_img2img",
        "Image to image",
        prose("""
            The upper part draws five Toon Heads; the lower part turns them into Micahs, with **denoise** 0.7.

            A fraction counts on the whole trajectory: of 0.4, the part above 0.7 is never run, so S draws only as
            much of this second pass as lies between, and XL all the fine steps. Lower **denoise** keeps more of the
            picture and leaves less to S.

            Nothing has to be downloaded: the models come with the pack, and draw avatars in 64 x 64 pixels.
            """),
    )
    graph.column("Makes pictures to start from")
    first = starter(graph, "S", "S draws Toon Heads", ", ".join(["Toon Head"] * 5))
    drawn = ksampler(graph, first["MODEL"], first, seed=11, sampler_name="euler")
    picture = graph.add("VAEDecode", "The pictures", samples=drawn["LATENT"], vae=first["VAE"])
    graph.column("Image to image")
    large = starter(graph, "XL", "XL (finishes) makes Micahs", ", ".join(["Micah"] * 5))
    encoded = graph.add("VAEEncode", pixels=picture["IMAGE"], vae=large["VAE"])
    graph.column()
    sampler = tstitch(
        graph,
        large["MODEL"],
        first["MODEL"],
        positive=large["positive"],
        negative=large["negative"],
        latent_image=encoded["LATENT"],
        denoise=0.7,
    )
    graph.column()
    after = graph.add("VAEDecode", samples=sampler["LATENT"], vae=large["VAE"])
    both = graph.add("ImageBatch", "Before and after", image1=picture["IMAGE"], image2=after["IMAGE"])
    scaled = graph.add("ImageScaleBy", image=both["IMAGE"], upscale_method="lanczos", scale_by=2)
    graph.column()
    graph.add("SaveImage", images=scaled["IMAGE"], filename_prefix="tstitch/img2img")
    return graph


def starter_inpaint() -> Graph:
    graph = Graph(
        "starter_inpaint",
        "Inpainting",
        prose("""
            Five Miniavs are drawn, then their upper half is masked and drawn again: other heads on the same shoulders.
            The mask works for every stage as it does in the stock KSampler.

            Nothing has to be downloaded: the models come with the pack, and draw avatars in 64 x 64 pixels.
            """),
    )
    graph.column("Makes pictures to start from")
    first = starter(graph, "S", "S draws Miniavs", ", ".join(["Miniavs"] * 5))
    drawn = ksampler(graph, first["MODEL"], first, seed=5, sampler_name="euler")
    picture = graph.add("VAEDecode", "The pictures", samples=drawn["LATENT"], vae=first["VAE"])
    graph.column("Mask: the upper half")
    nothing = graph.add("SolidMask", "Keep", value=0.0, width=64, height=64)
    half = graph.add("SolidMask", "Draw again", value=1.0, width=64, height=36)
    mask = graph.add("MaskComposite", destination=nothing["MASK"], source=half["MASK"], x=0, y=0, operation="add")
    masked = graph.add("SetLatentNoiseMask", samples=drawn["LATENT"], mask=mask["MASK"])
    graph.column()
    large = starter(graph, "XL", "XL (finishes)", ", ".join(["Miniavs"] * 5))
    sampler = tstitch(
        graph,
        large["MODEL"],
        first["MODEL"],
        positive=large["positive"],
        negative=large["negative"],
        latent_image=masked["LATENT"],
    )
    graph.column()
    after = graph.add("VAEDecode", samples=sampler["LATENT"], vae=large["VAE"])
    both = graph.add("ImageBatch", "Before and after", image1=picture["IMAGE"], image2=after["IMAGE"])
    scaled = graph.add("ImageScaleBy", image=both["IMAGE"], upscale_method="lanczos", scale_by=2)
    graph.column()
    graph.add("SaveImage", images=scaled["IMAGE"], filename_prefix="tstitch/inpaint")
    return graph


def starter_pattern() -> Graph:
    graph = Graph(
        "starter_pattern",
        "Models interleaved step by step",
        prose("""
            A **pattern** says which model runs which step: `1x6 2x2 1x2 2x10` is six steps of S, two of XL, two of S,
            ten of XL. The numbers must add up to the steps of the run, 20 here.

            The T-Stitch paper found small-first best, and for some video models large-small-large is. You can write
            any order.

            Nothing has to be downloaded: the models come with the pack, and draw avatars in 64 x 64 pixels.
            """),
    )
    graph.column()
    large = starter(graph, "XL", "XL: number 2")
    small = starter(graph, "S", "S: number 1")
    graph.column()
    joined = graph.add(
        "TStitchModelSchedule",
        final_model=large["MODEL"],
        model_1=small["MODEL"],
        pattern="1x6 2x2 1x2 2x10",
    )
    graph.column()
    sampler = ksampler(graph, joined["MODEL"], large, sampler_name="euler")
    show(graph, sampler["LATENT"], large["VAE"], "pattern", scale=2)
    return graph


def starter_guidance() -> Graph:
    graph = Graph(
        "starter_guidance",
        "Guidance by the small model",
        prose("""
            **Small-Model Guidance** has S give the second answer of each guided step, which XL would give too: a
            guided step costs one call of XL and one of S. Both samplers have one seed: the upper row is guided by S at
            a cfg of 2, the lower one is XL guided by itself at a cfg of 1.5.

            Set **mode** to cheap negative for guidance by the negative prompt, and **start_percent** and
            **end_percent** to guide a part of the run only. Nothing has to be downloaded.
            """),
    )
    graph.column()
    large = starter(graph, "XL", "XL (draws)", SOME_STYLES)
    small = starter(graph, "S", "S (guides)")
    graph.column()
    guided = graph.add("TStitchGuidance", model=large["MODEL"], weak_model=small["MODEL"])
    graph.column()
    by_small = ksampler(graph, guided["MODEL"], large, cfg=2.0)
    by_itself = ksampler(graph, large["MODEL"], large)
    two_rows(graph, large["VAE"], {"Guided by S": by_small, "Guided by itself": by_itself}, "guidance")
    return graph


def starter_low_resolution() -> Graph:
    graph = Graph(
        "starter_low_resolution",
        "One model: half the size first",
        prose("""
            **Low-Resolution Model** makes XL its own small model: the first 40 % of the steps run at half the size, a
            quarter of the latent pixels, the rest at the full size, in one sampling loop. It needs no second model and
            no memory for one.

            Both samplers have one seed: the upper row is stitched, the lower one XL at full size. Change **scale** and
            **fraction**. Nothing has to be downloaded.
            """),
    )
    graph.column()
    large = starter(graph, "XL", "XL", SOME_STYLES)
    graph.column()
    low = graph.add("TStitchLowResolution", model=large["MODEL"], scale=0.5)
    graph.column()
    stitched = tstitch(graph, large["MODEL"], low["MODEL"], **stock_inputs(large))
    alone = ksampler(graph, large["MODEL"], large, sampler_name="euler")
    two_rows(graph, large["VAE"], {"Half size first": stitched, "XL at full size": alone}, "low_resolution")
    return graph


def starter_sweep() -> Graph:
    graph = Graph(
        "starter_sweep",
        "Which fraction is still good enough?",
        prose("""
            **T-Stitch Sweep** samples the same noise once for each entry of **fractions**, and shows the pictures side
            by side with their seconds: from XL alone (0) to S alone (1). The last entry is a pattern: XL, S, then XL
            again.

            The **plot** shows the likeness to XL alone against the seconds, the **table** the same in numbers. Choose
            the fastest column that you cannot tell from the first.

            Finished runs are kept: interrupt it and queue again, or add a fraction, and only what is missing is
            sampled. Nothing has to be downloaded; the models come with the pack.
            """),
    )
    graph.column()
    large = starter(graph, "XL", "Large model (finishes)", "Micah, Open Peeps, Pixel Art")
    small = starter(graph, "S", "Small model (starts)")
    graph.column()
    sweep = graph.add(
        "TStitchSweep",
        model=large["MODEL"],
        small_model=small["MODEL"],
        vae=large["VAE"],
        seed=7,
        steps=20,
        cfg=1.5,
        sampler_name="euler",
        scheduler="simple",
        denoise=1.0,
        fractions="0, 0.2, 0.4, 0.6, 0.8, 1\n2x6 1x8 2x6",
        **stock_inputs(large),
    )
    graph.column()
    graph.add("SaveImage", "Grid", images=sweep["grid"], filename_prefix="tstitch/sweep")
    graph.add("PreviewAny", "Table", source=sweep["table"])
    graph.column()
    graph.add("SaveImage", "Speed and likeness", images=sweep["plot"], filename_prefix="tstitch/sweep_plot")
    return graph


def starter_budget_plan() -> Graph:
    graph = Graph(
        "starter_budget_plan",
        "From a budget to a schedule",
        prose("""
            **T-Stitch Profile** measures how long a step of S and of XL takes on this machine, **T-Stitch Calibrate**
            how far their predictions differ at each step, and **T-Stitch Plan** finds the schedule that loses least
            within the budget: here 1.5 times the speed of XL alone.

            The pattern goes into **Multi-Model Schedule**, and the stock KSampler samples with it. Change `goal` and
            `budget` of the plan and queue again: only the plan and the sampling run, as times and errors are kept.

            Keep the steps of Calibrate, Plan and KSampler equal.

            Nothing has to be downloaded: the models come with the pack, and draw avatars in 64 x 64 pixels.
            """),
    )
    graph.column()
    large = starter(graph, "XL", "XL (finishes)")
    small = starter(graph, "S", "S (starts)")
    models: dict[str, Any] = {"final_model": large["MODEL"], "model_1": small["MODEL"]}
    inputs = stock_inputs(large)
    sampling: dict[str, Any] = {"steps": 20, "cfg": 1.5, "sampler_name": "euler", "scheduler": "simple"}
    graph.column("Measure once")
    profile = graph.add("TStitchProfile", cfg=1.5, **models, **inputs)
    graph.column("Compare once")
    calibration = graph.add("TStitchCalibrate", seed=0, seeds=1, **models, **sampling, **inputs)
    graph.column("Plan")
    known: dict[str, Any] = {
        "profile": profile["PROFILE"],
        "calibration": calibration["CALIBRATION"],
        "latent_image": large["LATENT"],
    }
    plan = graph.add("TStitchPlan", goal="speed-up", budget=1.5, steps=20, order="small first", **known)
    graph.add("PreviewImage", "Time of a step", images=profile["chart"])
    graph.add("PreviewImage", "Similarity of the models", images=calibration["similarity"])
    graph.add("PreviewImage", "Time against error", images=plan["plot"])
    graph.column("Sample")
    joined = graph.add("TStitchModelSchedule", pattern=plan["pattern"], **models)
    latent = graph.add("KSampler", model=joined["MODEL"], seed=7, **sampling, **inputs)
    show(graph, latent["LATENT"], large["VAE"], "budget_plan", scale=2)
    graph.add("PreviewAny", "The alternatives", source=plan["table"])
    return graph


def starter_auto() -> Graph:
    graph = Graph(
        "starter_auto",
        "How fast do you want it?",
        prose("""
            **T-Stitch Auto** is a KSampler with a **speed_up**. The first queue measures and plans, which takes a few
            minutes on a CPU; every later one just samples. Change `speed_up`, and compare: measured is only once.

            It chooses the number of steps, their noise levels, and for each step XL, XL at half size, XL without
            guidance, S, S at half size, or XL guided by S. The **report** says what it chose and why.

            Nothing has to be downloaded: the models come with the pack, and draw avatars in 64 x 64 pixels.
            """),
    )
    graph.column()
    large = starter(graph, "XL", "XL")
    small = starter(graph, "S", "S (optional)")
    graph.column()
    auto = graph.add(
        "TStitchAuto",
        model=large["MODEL"],
        small_model=small["MODEL"],
        seed=7,
        steps=20,
        cfg=2.0,
        sampler_name="euler",
        scheduler="simple",
        denoise=1.0,
        speed_up=2.0,
        **stock_inputs(large),
    )
    show(graph, auto["LATENT"], large["VAE"], "auto", scale=2)
    graph.add("PreviewAny", "Report", source=auto["report"])
    return graph


def starter_joint_plan() -> Graph:
    graph = Graph(
        "starter_joint_plan",
        "Steps, noise levels and models in one plan",
        prose("""
            Fewer steps and smaller models spend the same budget, so **T-Stitch Plan** chooses them together: the
            number of steps, their noise levels, and for each step XL, S, or XL guided by S, for twice the speed of XL
            alone in 20 steps. Guidance and low resolution are what you connect: each counts as one more model.

            **T-Stitch Calibrate** has **record_steps** on, which takes a few minutes on a CPU, and is kept. The plan's
            **pattern** goes into Multi-Model Schedule, its **SIGMAS** into SamplerCustom. Its table says what each
            plan loses on seeds of their own, and when the plain scheduler is better.

            Change `goal` and `budget` and queue again: only the plan and the sampling run.

            Nothing has to be downloaded: the models come with the pack, and draw avatars in 64 x 64 pixels.
            """),
    )
    graph.column("Models")
    large = starter(graph, "XL", "XL (finishes)")
    small = starter(graph, "S", "S")
    guided = graph.add(
        "TStitchGuidance", "XL guided by S", model=large["MODEL"], weak_model=small["MODEL"], mode="cheap negative"
    )
    models: dict[str, Any] = {"final_model": large["MODEL"], "model_1": small["MODEL"], "model_2": guided["MODEL"]}
    inputs = stock_inputs(large)
    sampling: dict[str, Any] = {"steps": 20, "cfg": 2.0, "sampler_name": "euler", "scheduler": "simple"}
    graph.column("Measure once")
    profile = graph.add("TStitchProfile", cfg=2.0, **models, **inputs)
    calibration = graph.add("TStitchCalibrate", seed=0, seeds=1, record_steps=True, **models, **sampling, **inputs)
    graph.column("Plan")
    plan = graph.add(
        "TStitchPlan",
        goal="speed-up",
        budget=2.0,
        steps=20,
        order="free",
        profile=profile["PROFILE"],
        calibration=calibration["CALIBRATION"],
        latent_image=large["LATENT"],
        method="steps and models",
    )
    graph.add("PreviewImage", "Time against loss", images=plan["plot"])
    graph.column("Sample")
    joined = graph.add("TStitchModelSchedule", pattern=plan["pattern"], **models)
    chosen = graph.add("KSamplerSelect", sampler_name="euler")
    run = graph.add(
        "SamplerCustom",
        model=joined["MODEL"],
        add_noise=True,
        noise_seed=7,
        cfg=2.0,
        sampler=chosen["SAMPLER"],
        sigmas=plan["SIGMAS"],
        **inputs,
    )
    show(graph, run["output"], large["VAE"], "joint_plan", scale=2)
    graph.add("PreviewAny", "The plans", source=plan["table"])
    return graph


def starter_shortcut() -> Graph:
    graph = Graph(
        "starter_shortcut",
        "A Shortcut model at 4 steps",
        prose("""
            A Shortcut model is told how large each step is, so it draws in 4 steps what others need 20 for; 1, 2, 4, 8
            and more steps work. Use **euler** and **simple**, and cfg 1: the guidance is trained in.

            Nothing has to be downloaded: the models come with the pack, and draw avatars in 64 x 64 pixels.
            """),
    )
    graph.column()
    model = starter(graph, "Shortcut", "Shortcut model")
    graph.column()
    sampler = ksampler(graph, model["MODEL"], model, steps=4, cfg=1.0, sampler_name="euler")
    show(graph, sampler["LATENT"], model["VAE"], "starter_shortcut", scale=2)
    return graph


# --- Pairs of the papers ---------------------------------------------------------------------------------------------

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


def text_to_image(
    graph: Graph, model: Output, small: Output, encoder: Node, positive: str, size: int, prefix: str, **more: Any
) -> Graph:
    """A latent diffusion pair whose models share text encoder and VAE."""
    graph.column("Prompts and size")
    good, bad = prompts(graph, encoder["CLIP"], positive)
    latent = graph.add("EmptyLatentImage", width=size, height=size, batch_size=1)
    graph.column()
    cond: dict[str, Any] = {"positive": good["CONDITIONING"], "negative": bad["CONDITIONING"]}
    sampler = tstitch(graph, model, small, **{**cond, "latent_image": latent["LATENT"], **more})
    show(graph, sampler["LATENT"], encoder["VAE"], prefix)
    return graph


SD_STEPS: dict[str, Any] = {"steps": 30, "cfg": 7.5, "sampler_name": "dpmpp_2m", "scheduler": "karras"}


def bk_sdm_sd14() -> Graph:
    graph = Graph(
        "bk_sdm_sd14",
        "BK-SDM-Tiny and Stable Diffusion 1.4",
        prose("""
            The text-to-image pair of the paper: BK-SDM-Tiny, a distilled SD 1.4 of less than half the size, draws
            the first 40 %. Any SD 1.4 or 1.5 checkpoint can finish.
            """),
    )
    graph.column("Models")
    large = checkpoint(graph, SD14, "SD 1.4 (finishes)")
    small = graph.add("TStitchLoadBKSDM", "BK-SDM-Tiny (starts)", [BK_SDM_TINY], unet_name=BK_SDM_TINY.name)
    return text_to_image(graph, large["MODEL"], small["MODEL"], large, PHOTO, 512, "bk_sdm", **SD_STEPS)


def stylised_sd15() -> Graph:
    graph = Graph(
        "stylised_sd15",
        "A stylised SD 1.5 with BK-SDM-Tiny",
        prose("""
            Fine-tuned styles often forget parts of the prompt. The paper's remedy: BK-SDM-Tiny, which has not been
            fine-tuned, places everything in the first 30 % of the steps; Inkpunk Diffusion then draws it in its own
            style. Raise the fraction for a closer reading of the prompt, lower it for more style.

            `nvinkpunk` is the word that calls the style. Any other SD 1.5 fine-tune does too.
            """),
    )
    graph.column("Models")
    large = checkpoint(graph, INKPUNK, "Inkpunk (finishes)")
    small = graph.add("TStitchLoadBKSDM", "BK-SDM-Tiny (starts)", [BK_SDM_TINY], unet_name=BK_SDM_TINY.name)
    prompt = "nvinkpunk, a cat and a dog playing chess on a wooden table, a red lamp above them"
    return text_to_image(
        graph, large["MODEL"], small["MODEL"], large, prompt, 512, "stylised", **SD_STEPS, fraction=0.3
    )


def ssd_1b_sdxl() -> Graph:
    graph = Graph(
        "ssd_1b_sdxl",
        "SSD-1B and SDXL",
        prose("""
            SSD-1B is SDXL with half of its blocks removed. It draws the first 40 % of the steps, SDXL the rest. Text
            encoders and VAE are those of SDXL.
            """),
    )
    graph.column("Models")
    large = checkpoint(graph, SDXL, "SDXL (finishes)")
    small = checkpoint(graph, SSD_1B, "SSD-1B (starts)")
    return text_to_image(graph, large["MODEL"], small["MODEL"], large, PHOTO, 1024, "ssd_1b", **SD_STEPS)


def ssd_1b_sdxl_guidance() -> Graph:
    graph = Graph(
        "ssd_1b_sdxl_guidance",
        "SDXL guided by SSD-1B",
        prose("""
            SSD-1B, SDXL with half of its blocks removed, gives the second answer of each guided step in place of SDXL.
            As a **weak model** it reads the positive prompt, and wants a lower cfg than plain guidance: 2 to 3. With
            **mode** on cheap negative it reads the negative prompt, at the usual cfg of 6 to 8.
            """),
    )
    graph.column("Models")
    large = checkpoint(graph, SDXL, "SDXL (draws)")
    small = checkpoint(graph, SSD_1B, "SSD-1B (guides)")
    graph.column()
    guided = graph.add("TStitchGuidance", model=large["MODEL"], weak_model=small["MODEL"])
    graph.column("Prompts and size")
    good, bad = prompts(graph, large["CLIP"], PHOTO)
    latent = graph.add("EmptyLatentImage", width=1024, height=1024, batch_size=1)
    graph.column()
    cond: dict[str, Any] = {
        "positive": good["CONDITIONING"],
        "negative": bad["CONDITIONING"],
        "latent_image": latent["LATENT"],
    }
    sampler = graph.add("KSampler", model=guided["MODEL"], seed=7, denoise=1.0, **cond, **{**SD_STEPS, "cfg": 2.5})
    show(graph, sampler["LATENT"], large["VAE"], "ssd_1b_guidance")
    return graph


def sdxl_2048() -> Graph:
    graph = Graph(
        "sdxl_2048",
        "SDXL at 2048 with a first stage at 1024",
        prose("""
            SDXL draws doubled subjects above its native size. Here **Low-Resolution Model** asks it at half the height
            and width for the first 30 % of the steps, so the composition is made at 1024, and at full size for the
            rest. It does what the Deep Shrink patch (PatchModelAddDownscale) is used for, and replaces it.

            One model, no second download.
            """),
    )
    graph.column("Model")
    large = checkpoint(graph, SDXL, "SDXL")
    reduced = graph.add("TStitchLowResolution", model=large["MODEL"], scale=0.5)
    return text_to_image(
        graph, large["MODEL"], reduced["MODEL"], large, PHOTO, 2048, "sdxl_2048", fraction=0.3, **SD_STEPS
    )


def ssd_1b_sdxl_canny() -> Graph:
    graph = Graph(
        "ssd_1b_sdxl_canny",
        "SSD-1B and SDXL with a canny ControlNet",
        prose("""
            A ControlNet made for SDXL guides both models: it is part of the conditioning, which both stages get.
            Choose your own picture in **Load Image**; its edges are kept.

            To control one stage only, connect the plain prompt to **small_positive** or to **positive**.
            """),
    )
    graph.column("Models")
    large = checkpoint(graph, SDXL, "SDXL (finishes)")
    small = checkpoint(graph, SSD_1B, "SSD-1B (starts)")
    control = graph.add("ControlNetLoader", models=[CANNY], control_net_name=CANNY.name)
    graph.column("Prompts and size")
    good, bad = prompts(graph, large["CLIP"], "a glass bottle in a snowy forest, morning light, highly detailed")
    latent = graph.add("EmptyLatentImage", width=1024, height=1024, batch_size=1)
    graph.column("Edges of a picture")
    picture = graph.add("LoadImage", image="example.png")
    edges = graph.add("Canny", image=picture["IMAGE"], low_threshold=0.3, high_threshold=0.7)
    guided = graph.add(
        "ControlNetApplyAdvanced",
        positive=good["CONDITIONING"],
        negative=bad["CONDITIONING"],
        control_net=control["CONTROL_NET"],
        image=edges["IMAGE"],
        strength=0.6,
        start_percent=0.0,
        end_percent=0.8,
    )
    graph.column()
    sampler = tstitch(
        graph,
        large["MODEL"],
        small["MODEL"],
        positive=guided["positive"],
        negative=guided["negative"],
        latent_image=latent["LATENT"],
        **SD_STEPS,
    )
    show(graph, sampler["LATENT"], large["VAE"], "ssd_1b_canny")
    return graph


def ssd_1b_sdxl_lcm() -> Graph:
    graph = Graph(
        "ssd_1b_sdxl_lcm",
        "SSD-1B and SDXL with LCM LoRAs",
        prose("""
            Stitching goes together with distilled few-step sampling: each model has its own LCM LoRA, and 8 steps do.
            With so few steps the split falls on whole steps: 0.4 of 8 is three steps of SSD-1B.
            """),
    )
    graph.column("Models")
    large = checkpoint(graph, SDXL, "SDXL (finishes)")
    small = checkpoint(graph, SSD_1B, "SSD-1B (starts)")
    graph.column("LCM LoRAs, one per model")
    loras = [
        graph.add("LoraLoaderModelOnly", title, [file], model=model["MODEL"], lora_name=file.name, strength_model=1.0)
        for title, file, model in (("LCM for SDXL", LCM_SDXL, large), ("LCM for SSD-1B", LCM_SSD_1B, small))
    ]
    steps: dict[str, Any] = {"steps": 8, "cfg": 1.5, "sampler_name": "lcm", "scheduler": "sgm_uniform"}
    return text_to_image(graph, loras[0]["MODEL"], loras[1]["MODEL"], large, PHOTO, 1024, "ssd_1b_lcm", **steps)


def ssd_1b_sdxl_refiner() -> Graph:
    graph = Graph(
        "ssd_1b_sdxl_refiner",
        "SSD-1B, SDXL and the refiner",
        prose("""
            **T-Stitch KSampler (Advanced)** stops after 24 of 30 steps and hands its latents on with their noise, as
            the stock KSampler (Advanced) does: SSD-1B draws the first 12 steps, SDXL the next 12. The stock sampler
            then gives the last 6 to the refiner, which has a text encoder of its own.

            The fraction counts on all 30 steps, also where a sampler runs only some of them: 0.4 is 12 steps.
            """),
    )
    graph.column("Models")
    large = checkpoint(graph, SDXL, "SDXL (goes on)")
    small = checkpoint(graph, SSD_1B, "SSD-1B (starts)")
    refiner = checkpoint(graph, SDXL_REFINER, "Refiner (finishes)")
    graph.column("Prompts and size")
    good, bad = prompts(graph, large["CLIP"], PHOTO)
    latent = graph.add("EmptyLatentImage", width=1024, height=1024, batch_size=1)
    last_good, last_bad = prompts(graph, refiner["CLIP"], PHOTO)
    steps: dict[str, Any] = {"noise_seed": 7, **SD_STEPS}
    graph.column()
    drawn = graph.add(
        "TStitchKSamplerAdvanced",
        model=large["MODEL"],
        small_model=small["MODEL"],
        fraction=0.4,
        positive=good["CONDITIONING"],
        negative=bad["CONDITIONING"],
        latent_image=latent["LATENT"],
        end_at_step=24,
        return_with_leftover_noise="enable",
        **steps,
    )
    graph.column()
    refined = graph.add(
        "KSamplerAdvanced",
        model=refiner["MODEL"],
        positive=last_good["CONDITIONING"],
        negative=last_bad["CONDITIONING"],
        latent_image=drawn["LATENT"],
        add_noise="disable",
        start_at_step=24,
        **steps,
    )
    show(graph, refined["LATENT"], large["VAE"], "ssd_1b_refiner")
    return graph


# --- Today's models --------------------------------------------------------------------------------------------------

FOX = "a red fox runs through fresh snow towards the camera, slow motion, pine forest, low winter sun"


def wan_loader(graph: Graph, file: ModelFile, title: str, shift: float) -> Output:
    loaded = graph.add("UNETLoader", title, [file], unet_name=file.name, weight_dtype="default")
    return graph.add("ModelSamplingSD3", model=loaded["MODEL"], shift=shift)["MODEL"]


def wan_inputs(graph: Graph) -> dict[str, Any]:
    """Prompts and size."""
    graph.column("Prompts and size")
    clip = graph.add("CLIPLoader", models=[WAN_TEXT], clip_name=WAN_TEXT.name, type="wan")
    good, bad = prompts(graph, clip["CLIP"], FOX, "static, blurry, overexposed, subtitles, low quality, deformed")
    latent = graph.add("EmptyHunyuanLatentVideo", width=832, height=480, length=33, batch_size=1)
    return {"positive": good["CONDITIONING"], "negative": bad["CONDITIONING"], "latent_image": latent["LATENT"]}


def wan_video(graph: Graph, joined: Node, prefix: str, **steps: Any) -> Graph:
    """What follows the models in most Wan graphs: prompts, the stock sampler, a video."""
    cond = wan_inputs(graph)
    graph.column()
    sampler = graph.add("KSampler", model=joined["MODEL"], seed=7, **cond, denoise=1.0, **steps)
    return save_video(graph, sampler["LATENT"], prefix)


def save_video(graph: Graph, samples: Output, prefix: str) -> Graph:
    vae = graph.add("VAELoader", models=[WAN_VAE], vae_name=WAN_VAE.name)
    graph.column()
    frames = graph.add("VAEDecode", samples=samples, vae=vae["VAE"])
    video = graph.add("CreateVideo", images=frames["IMAGE"], fps=16)
    graph.column()
    graph.add("SaveVideo", video=video["VIDEO"], filename_prefix=f"tstitch/{prefix}", format="auto", codec="auto")
    return graph


def wan21_video() -> Graph:
    graph = Graph(
        "wan21_video",
        "Wan 2.1: 1.3B and 14B in one video",
        prose("""
            Two seconds of video at 832 x 480. For video, work after T-Stitch found it better that the large model
            starts (SRDiffusion, arXiv 2505.19151) or starts and finishes (FlowBlending, 2512.24724). So the
            **pattern** is `2x8 1x14 2x8`: model 1 is the 1.3B, model 2 the 14B.

            With both models loaded this needs much memory; **memory** on auto loads one after the other where it does
            not fit.
            """),
    )
    graph.column("Models")
    large = wan_loader(graph, WAN_LARGE, "Wan 2.1 14B: number 2", 8.0)
    small = wan_loader(graph, WAN_SMALL, "Wan 2.1 1.3B: number 1", 8.0)
    graph.column()
    joined = graph.add("TStitchModelSchedule", final_model=large, model_1=small, pattern="2x8 1x14 2x8")
    return wan_video(graph, joined, "wan21", steps=30, cfg=6.0, sampler_name="uni_pc", scheduler="simple")


def wan22_video() -> Graph:
    graph = Graph(
        "wan22_video",
        "Wan 2.2: high and low noise by timestep",
        prose("""
            Wan 2.2 has one model for high noise and one for low noise. Its authors switch where the noise level t
            falls below 0.875: that is **unit** timestep and **splits** 0.875 here (0.9 for image to video), whatever
            the number of steps, the scheduler or the shift.

            One sampler, one preview and no leftover noise to set; multistep samplers keep their history over the
            switch.
            """),
    )
    graph.column("Models")
    low = wan_loader(graph, WAN_LOW, "Low noise (finishes)", 8.0)
    high = wan_loader(graph, WAN_HIGH, "High noise (starts)", 8.0)
    graph.column()
    joined = graph.add("TStitchModelSchedule", final_model=low, model_1=high, splits="0.875", unit="timestep")
    return wan_video(graph, joined, "wan22", steps=20, cfg=3.5, sampler_name="euler", scheduler="simple")


def wan22_own_steps() -> Graph:
    graph = Graph(
        "wan22_own_steps",
        "Wan 2.2: own steps for each stage",
        prose("""
            The high-noise model has a speed LoRA and takes 2 steps at cfg 1; the low-noise model has none and takes 8
            at cfg 3.5. **Multi-Model Sigmas** makes the noise levels: `steps` 2, 8, and the two stages meet exactly
            where t is 0.875, each with its own `shifts`.

            Its **pattern** goes into Stitch Guiders, which gives each stage its own cfg; its **SIGMAS** go into the
            sampler. With the LoRA on both models, write `steps` 2, 2 and cfg 1 twice. The authors' own four steps are
            also a list: **timesteps** 1000, 937.5, 833.3, 625.
            """),
    )
    graph.column("High noise (starts)")
    high = wan_loader(graph, WAN_HIGH, "High noise (starts)", 5.0)
    fast = graph.add(
        "LoraLoaderModelOnly",
        "Speed LoRA",
        [WAN_LIGHTNING],
        model=high,
        lora_name=WAN_LIGHTNING.name,
        strength_model=1.0,
    )
    graph.column("Low noise (finishes)")
    low = wan_loader(graph, WAN_LOW, "Low noise (finishes)", 8.0)
    cond = wan_inputs(graph)
    graph.column("Stages")
    of_both = {name: cond[name] for name in ("positive", "negative")}
    first = graph.add("CFGGuider", "High noise: cfg 1", model=fast["MODEL"], cfg=1.0, **of_both)
    final = graph.add("CFGGuider", "Low noise: cfg 3.5", model=low, cfg=3.5, **of_both)
    own = graph.add(
        "TStitchSigmas", model=low, steps="2, 8", splits="0.875", unit="timestep", scheduler="simple", shifts="5, 8"
    )
    graph.column("Sample")
    joined = graph.add("TStitchGuiders", final_guider=final["GUIDER"], guider_1=first["GUIDER"], pattern=own["pattern"])
    noise = graph.add("RandomNoise", noise_seed=7)
    sampler = graph.add("KSamplerSelect", sampler_name="euler")
    graph.column()
    run = graph.add(
        "SamplerCustomAdvanced",
        noise=noise["NOISE"],
        guider=joined["GUIDER"],
        sampler=sampler["SAMPLER"],
        sigmas=own["SIGMAS"],
        latent_image=cond["latent_image"],
    )
    return save_video(graph, run["output"], "wan22_own_steps")


def wan21_low_resolution() -> Graph:
    graph = Graph(
        "wan21_low_resolution",
        "Wan 2.1: one model, low resolution first",
        prose("""
            **Low-Resolution Model** makes the 14B its own small model: it draws the first half of the steps at two
            thirds of the height and width, then the rest at full size. No second model, no more memory.

            Raise **splits** to be faster; up to 0.7 was found good by others, with a scheduler and shift as here.
            """),
    )
    graph.column("Model")
    large = wan_loader(graph, WAN_LARGE, "Wan 2.1 14B", 8.0)
    reduced = graph.add("TStitchLowResolution", model=large, scale=0.67)
    graph.column()
    joined = graph.add("TStitchModelSchedule", final_model=large, model_1=reduced["MODEL"], splits="0.5")
    return wan_video(graph, joined, "wan21_low", steps=30, cfg=6.0, sampler_name="uni_pc", scheduler="simple")


def flux_prompts(graph: Graph, title: str) -> tuple[Node, Node]:
    """What Flux reads: the prompt with its guidance, and nothing for the negative."""
    clip = graph.add("DualCLIPLoader", models=[CLIP_L, T5], clip_name1=CLIP_L.name, clip_name2=T5.name, type="flux")
    prompt = graph.add("CLIPTextEncode", title, clip=clip["CLIP"], text=PHOTO)
    guidance = graph.add("FluxGuidance", conditioning=prompt["CONDITIONING"], guidance=3.5)
    return guidance, graph.add("ConditioningZeroOut", conditioning=prompt["CONDITIONING"])


def flux_low_resolution() -> Graph:
    graph = Graph(
        "flux_low_resolution",
        "Flux: one model, low resolution first",
        prose("""
            **Low-Resolution Model** makes Flux its own small model: it draws the first half of the steps at half the
            height and width, where a step costs about a quarter, then the rest at full size. No second model, no more
            memory.

            Lower **fraction** where fine structure is lost; 0 is plain Flux.
            """),
    )
    graph.column("Flux")
    flux = graph.add("UNETLoader", "Flux dev", [FLUX], unet_name=FLUX.name, weight_dtype="default")
    reduced = graph.add("TStitchLowResolution", model=flux["MODEL"], scale=0.5)
    graph.column("Prompt")
    guidance, nothing = flux_prompts(graph, "Prompt")
    graph.column()
    latent = graph.add("EmptySD3LatentImage", width=1024, height=1024, batch_size=1)
    vae = graph.add("VAELoader", models=[FLUX_VAE], vae_name=FLUX_VAE.name)
    sampler = tstitch(
        graph,
        flux["MODEL"],
        reduced["MODEL"],
        fraction=0.5,
        positive=guidance["CONDITIONING"],
        negative=nothing["CONDITIONING"],
        latent_image=latent["LATENT"],
        cfg=1.0,
    )
    show(graph, sampler["LATENT"], vae["VAE"], "flux_low")
    return graph


def lumina_flux() -> Graph:
    graph = Graph(
        "lumina_flux",
        "Lumina 2 and Flux",
        prose("""
            Two families that share the VAE of Flux and nothing else: Lumina Image 2.0 (2.6 B) draws the first 30 %,
            Flux dev (12 B) finishes. Each has its own text encoder and its own cfg: Lumina's go to
            **small_positive**, **small_negative** and **small_cfg**.

            Lumina wants the sentence before `<Prompt Start>`; write both prompts alike.
            """),
    )
    graph.column("Flux (finishes)")
    flux = graph.add("UNETLoader", "Flux dev", [FLUX], unet_name=FLUX.name, weight_dtype="default")
    guidance, nothing = flux_prompts(graph, "Prompt for Flux")
    graph.column("Lumina 2 (starts)")
    loaded = graph.add("UNETLoader", "Lumina Image 2.0", [LUMINA], unet_name=LUMINA.name, weight_dtype="default")
    small = graph.add("ModelSamplingAuraFlow", model=loaded["MODEL"], shift=6.0)
    clip = graph.add("CLIPLoader", models=[GEMMA], clip_name=GEMMA.name, type="lumina2")
    system = "You are an assistant designed to generate superior images based on textual prompts. <Prompt Start> "
    good = graph.add("CLIPTextEncode", "Prompt for Lumina", clip=clip["CLIP"], text=system + PHOTO)
    bad = graph.add("CLIPTextEncode", "Negative prompt for Lumina", clip=clip["CLIP"], text=system + BAD)
    graph.column()
    latent = graph.add("EmptySD3LatentImage", width=1024, height=1024, batch_size=1)
    vae = graph.add("VAELoader", models=[FLUX_VAE], vae_name=FLUX_VAE.name)
    sampler = tstitch(
        graph,
        flux["MODEL"],
        small["MODEL"],
        fraction=0.3,
        positive=guidance["CONDITIONING"],
        negative=nothing["CONDITIONING"],
        latent_image=latent["LATENT"],
        small_positive=good["CONDITIONING"],
        small_negative=bad["CONDITIONING"],
        cfg=1.0,
        small_cfg=4.0,
    )
    show(graph, sampler["LATENT"], vae["VAE"], "lumina_flux")
    return graph


GRAPHS: list[Callable[[], Graph]] = [
    starter_tstitch,
    starter_three_models,
    starter_schedule,
    starter_guiders,
    starter_img2img,
    starter_inpaint,
    starter_pattern,
    starter_shortcut,
    starter_low_resolution,
    starter_guidance,
    starter_sweep,
    starter_budget_plan,
    starter_joint_plan,
    starter_auto,
    dit_s_dit_xl,
    dit_s_b_xl,
    dit_s_u_vit,
    ldm_s_ldm,
    shortcut_4_steps,
    bk_sdm_sd14,
    stylised_sd15,
    ssd_1b_sdxl,
    ssd_1b_sdxl_guidance,
    sdxl_2048,
    ssd_1b_sdxl_canny,
    ssd_1b_sdxl_lcm,
    ssd_1b_sdxl_refiner,
    wan21_video,
    wan21_low_resolution,
    wan22_video,
    wan22_own_steps,
    flux_low_resolution,
    lumina_flux,
]


async def fetch_object_info(address: str) -> Json:
    async with Client(address) as client:
        return await client.object_info()


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="tstitch-workflows-") as base:
        host = Path(os.environ["COMFYUI_PATH"])
        with running_server(host, Path(base), free_port(), cpu=True) as server:
            object_info = asyncio.run(fetch_object_info(server.address))
    for build in GRAPHS:
        graph = build()
        text = json.dumps(graph.to_workflow(object_info), indent=1, ensure_ascii=False)
        (FOLDER / f"{graph.name}.json").write_text(text + "\n", encoding="utf-8")
    print(f"{len(GRAPHS)} workflows are in {FOLDER}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
