"""Plots, and similarity of pictures."""
