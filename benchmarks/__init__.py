"""Measurements behind every number in the README. Not part of the released pack.

`tools/` draws, scores and times; `measure/` holds one module per benchmark; `report/` makes tables and figures. `gpu/`
is the benchmark of a GPU, with parts, processes and a page of its own.
"""
