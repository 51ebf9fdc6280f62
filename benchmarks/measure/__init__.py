"""One module per benchmark; each writes `results/<name>.json`."""
