"""The example workflows: descriptions, of which `python -m scripts.workflows` writes the files."""

from __future__ import annotations

from collections.abc import Callable

from scripts.graph import Graph
from scripts.workflows import imagenet, stable_diffusion, starters, transformers

GRAPHS: list[Callable[[], Graph]] = [
    starters.starter_tstitch,
    starters.starter_three_models,
    starters.starter_schedule,
    starters.starter_guiders,
    starters.starter_img2img,
    starters.starter_inpaint,
    starters.starter_pattern,
    starters.starter_shortcut,
    starters.starter_low_resolution,
    starters.starter_guidance,
    starters.starter_sweep,
    starters.starter_budget_plan,
    starters.starter_joint_plan,
    starters.starter_auto,
    imagenet.dit_s_dit_xl,
    imagenet.dit_s_b_xl,
    imagenet.dit_s_u_vit,
    imagenet.ldm_s_ldm,
    imagenet.shortcut_4_steps,
    stable_diffusion.bk_sdm_sd14,
    stable_diffusion.stylised_sd15,
    stable_diffusion.ssd_1b_sdxl,
    stable_diffusion.ssd_1b_sdxl_guidance,
    stable_diffusion.sdxl_2048,
    stable_diffusion.ssd_1b_sdxl_canny,
    stable_diffusion.ssd_1b_sdxl_lcm,
    stable_diffusion.ssd_1b_sdxl_refiner,
    transformers.wan21_video,
    transformers.wan21_low_resolution,
    transformers.wan22_video,
    transformers.wan22_own_steps,
    transformers.flux_low_resolution,
    transformers.lumina_flux,
]
