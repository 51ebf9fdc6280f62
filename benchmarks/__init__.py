"""Measurements behind every number in the README. Not part of the released pack."""
