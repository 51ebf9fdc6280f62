"""Stable Diffusion 1.x and XL with smaller models beside them."""

from __future__ import annotations

from typing import Any

from scripts.graph import Graph, Node, Output
from scripts.model_files import (
    BK_SDM_TINY,
    CANNY,
    INKPUNK,
    LCM_SDXL,
    LCM_SSD_1B,
    SD14,
    SDXL,
    SDXL_REFINER,
    SSD_1B,
)
from scripts.workflows.parts import PHOTO, checkpoint, prompts, prose, show, tstitch


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
