"""Stitched sampling: one loop over several models, as MODEL or as GUIDER, and the report of a run."""
