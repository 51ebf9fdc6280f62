"""A sampler that measures once, plans for a speed-up, and remembers."""
