"""Today's diffusion transformers: Wan, Flux, Lumina."""

from __future__ import annotations

from typing import Any

from scripts.graph import Graph, ModelFile, Node, Output
from scripts.model_files import (
    CLIP_L,
    FLUX,
    FLUX_VAE,
    GEMMA,
    LUMINA,
    T5,
    WAN_HIGH,
    WAN_LARGE,
    WAN_LIGHTNING,
    WAN_LOW,
    WAN_SMALL,
    WAN_TEXT,
    WAN_VAE,
)
from scripts.workflows.parts import BAD, PHOTO, prompts, prose, show, tstitch

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


def flux_loader(graph: Graph) -> Node:
    return graph.add("UNETLoader", "Flux dev", [FLUX], unet_name=FLUX.name, weight_dtype="default")


def flux_canvas(graph: Graph) -> tuple[Node, Node]:
    """An empty latent and the VAE."""
    latent = graph.add("EmptySD3LatentImage", width=1024, height=1024, batch_size=1)
    return latent, graph.add("VAELoader", models=[FLUX_VAE], vae_name=FLUX_VAE.name)


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
    flux = flux_loader(graph)
    reduced = graph.add("TStitchLowResolution", model=flux["MODEL"], scale=0.5)
    graph.column("Prompt")
    guidance, nothing = flux_prompts(graph, "Prompt")
    graph.column()
    latent, vae = flux_canvas(graph)
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
    flux = flux_loader(graph)
    guidance, nothing = flux_prompts(graph, "Prompt for Flux")
    graph.column("Lumina 2 (starts)")
    loaded = graph.add("UNETLoader", "Lumina Image 2.0", [LUMINA], unet_name=LUMINA.name, weight_dtype="default")
    small = graph.add("ModelSamplingAuraFlow", model=loaded["MODEL"], shift=6.0)
    clip = graph.add("CLIPLoader", models=[GEMMA], clip_name=GEMMA.name, type="lumina2")
    system = "You are an assistant designed to generate superior images based on textual prompts. <Prompt Start> "
    good = graph.add("CLIPTextEncode", "Prompt for Lumina", clip=clip["CLIP"], text=system + PHOTO)
    bad = graph.add("CLIPTextEncode", "Negative prompt for Lumina", clip=clip["CLIP"], text=system + BAD)
    graph.column()
    latent, vae = flux_canvas(graph)
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
