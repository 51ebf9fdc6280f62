"""T-Stitch for ComfyUI: several diffusion models share one sampling run."""

WEB_DIRECTORY = "./js"


async def comfy_entrypoint():
    from .nodes import TStitchExtension

    return TStitchExtension()
