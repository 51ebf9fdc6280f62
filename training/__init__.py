"""Training of the bundled starter models on Fashion-MNIST. Not part of the released pack."""
