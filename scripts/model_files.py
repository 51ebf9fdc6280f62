"""The published files that the example workflows name."""

from __future__ import annotations

from scripts.graph import ModelFile

HUGGING_FACE = "https://huggingface.co"
DRIVE = "https://drive.google.com/file/d"


def hugging_face(name: str, directory: str, repository: str, path: str = "") -> ModelFile:
    return ModelFile(name, directory, f"{HUGGING_FACE}/{repository}/resolve/main/{path or name}")


def drive(name: str, key: str, directory: str = "diffusion_models") -> ModelFile:
    return ModelFile(name, directory, f"{DRIVE}/{key}/view")


SD_VAE = hugging_face("vae-ft-mse-840000-ema-pruned.safetensors", "vae", "stabilityai/sd-vae-ft-mse-original")
DIT_S = drive("dit_s_256.pt", "1YOSNrFbP36vHlPQPBosqZKbPLokymRuO")
DIT_B = drive("dit_b_256.pt", "1HTqZSYXh6LJGLooko4LPFsCuwL2Wjg6r")
DIT_XL = ModelFile(
    "DiT-XL-2-256x256.pt",
    "diffusion_models",
    "https://dl.fbaipublicfiles.com/DiT/models/DiT-XL-2-256x256.pt",
)
U_VIT_H = drive("imagenet256_uvit_huge.pth", "13StUdrjaaSXjfqqF7M47BzPyhMAArQ4u")
LDM_S = drive("ldm_s.ckpt", "1HgKfkIHr14O8HjIf-RCw8cLEdsbn2h9h", "checkpoints")
LDM = drive("ldm.ckpt", "1YRnLZuR8xIS9GgtU7a_sTTH5G2KkJk7s", "checkpoints")
SHORTCUT = ModelFile(
    "imagenet-shortcut-xl.safetensors", "diffusion_models", "https://github.com/kvfrans/shortcut-models"
)
SD14 = hugging_face("sd-v1-4.ckpt", "checkpoints", "CompVis/stable-diffusion-v-1-4-original")
INKPUNK = hugging_face("Inkpunk-Diffusion-v2.ckpt", "checkpoints", "Envvi/Inkpunk-Diffusion")
BK_SDM_TINY = hugging_face(
    "bk-sdm-tiny.safetensors",
    "diffusion_models",
    "nota-ai/bk-sdm-tiny",
    "unet/diffusion_pytorch_model.safetensors",
)
SDXL = hugging_face("sd_xl_base_1.0.safetensors", "checkpoints", "stabilityai/stable-diffusion-xl-base-1.0")
SDXL_REFINER = hugging_face(
    "sd_xl_refiner_1.0.safetensors", "checkpoints", "stabilityai/stable-diffusion-xl-refiner-1.0"
)
SSD_1B = hugging_face("SSD-1B-A1111.safetensors", "checkpoints", "segmind/SSD-1B")
CANNY = hugging_face(
    "controlnet-canny-sdxl-1.0-fp16.safetensors",
    "controlnet",
    "diffusers/controlnet-canny-sdxl-1.0",
    "diffusion_pytorch_model.fp16.safetensors",
)
LCM_SDXL = hugging_face(
    "lcm-lora-sdxl.safetensors", "loras", "latent-consistency/lcm-lora-sdxl", "pytorch_lora_weights.safetensors"
)
LCM_SSD_1B = hugging_face(
    "lcm-lora-ssd-1b.safetensors", "loras", "latent-consistency/lcm-lora-ssd-1b", "pytorch_lora_weights.safetensors"
)


def repackaged(repository: str, directory: str, name: str) -> ModelFile:
    return hugging_face(name, directory, f"Comfy-Org/{repository}", f"split_files/{directory}/{name}")


WAN_21, WAN_22, LUMINA_2 = "Wan_2.1_ComfyUI_repackaged", "Wan_2.2_ComfyUI_Repackaged", "Lumina_Image_2.0_Repackaged"
WAN_SMALL = repackaged(WAN_21, "diffusion_models", "wan2.1_t2v_1.3B_fp16.safetensors")
WAN_LARGE = repackaged(WAN_21, "diffusion_models", "wan2.1_t2v_14B_fp8_scaled.safetensors")
WAN_HIGH = repackaged(WAN_22, "diffusion_models", "wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors")
WAN_LOW = repackaged(WAN_22, "diffusion_models", "wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors")
WAN_LIGHTNING = repackaged(WAN_22, "loras", "wan2.2_t2v_lightx2v_4steps_lora_v1.1_high_noise.safetensors")
WAN_TEXT = repackaged(WAN_21, "text_encoders", "umt5_xxl_fp8_e4m3fn_scaled.safetensors")
WAN_VAE = repackaged(WAN_21, "vae", "wan_2.1_vae.safetensors")
LUMINA = repackaged(LUMINA_2, "diffusion_models", "lumina_2_model_bf16.safetensors")
GEMMA = repackaged(LUMINA_2, "text_encoders", "gemma_2_2b_fp16.safetensors")
FLUX_VAE = repackaged(LUMINA_2, "vae", "ae.safetensors")
FLUX = hugging_face("flux1-dev.safetensors", "diffusion_models", "Comfy-Org/flux1-dev")
CLIP_L = hugging_face("clip_l.safetensors", "text_encoders", "comfyanonymous/flux_text_encoders")
T5 = hugging_face("t5xxl_fp16.safetensors", "text_encoders", "comfyanonymous/flux_text_encoders")
