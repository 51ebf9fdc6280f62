"""Refuses bad input before anything is loaded, in one sentence."""
