"""One picture for each of several schedules, side by side."""
