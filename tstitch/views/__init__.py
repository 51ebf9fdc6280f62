"""Plots, and how alike two pictures are."""
