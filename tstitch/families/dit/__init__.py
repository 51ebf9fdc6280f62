"""DiT, SiT and Shortcut models (arXiv 2212.09748, 2401.08740, 2410.12557)."""
