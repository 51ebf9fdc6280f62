"""Seconds per step of each model on this device."""
