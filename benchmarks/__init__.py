"""Measurements behind every number in the README. Not part of the released pack.

`tools/` draws, scores and times; `measure/` holds one module per benchmark; `report/` makes tables and figures.
"""
