"""Guidance whose second answer comes from a smaller model (arXiv 2406.02507)."""
