"""Guidance whose second prediction comes from a smaller model (arXiv 2406.02507)."""
