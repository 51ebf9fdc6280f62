"""Class-conditional latent diffusion U-Nets (arXiv 2112.10752)."""
