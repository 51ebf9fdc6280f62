"""A model at fewer latent pixels than the run has (arXiv 2605.18736): the large model as its own small one."""
