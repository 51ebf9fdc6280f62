"""What several workflows share: loaders, prompts, samplers, and how the result is shown."""

from __future__ import annotations

from typing import Any

from scripts.graph import Graph, ModelFile, Node, Output
from scripts.model_files import SD_VAE

PHOTO = "a photo of a lighthouse on a cliff above a stormy sea, golden hour, highly detailed"
BAD = "blurry, low quality, watermark, text"


def prose(text: str) -> str:
    """Paragraphs with blank lines between, each on one line."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


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
