"""What stands behind `dev.py`: the standard library only, so that it runs before anything is installed."""
