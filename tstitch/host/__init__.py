"""What the host's objects mean and how they are handled: noise levels, memory, conditioning, latents, devices."""
