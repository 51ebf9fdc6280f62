"""T-Stitch for ComfyUI: several diffusion models share one sampling run."""

WEB_DIRECTORY = "./js"


async def comfy_entrypoint() -> object:
    from .nodes import TStitchExtension

    return TStitchExtension()
