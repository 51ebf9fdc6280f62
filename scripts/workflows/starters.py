"""Workflows that need no download."""

from __future__ import annotations

from typing import Any

from scripts.graph import Graph
from scripts.workflows.parts import ksampler, prose, show, starter, stock_inputs, tstitch, two_rows

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
