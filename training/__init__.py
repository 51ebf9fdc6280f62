"""Training of the bundled starter models on avatars. Not part of the released pack."""
