"""The noise levels of a run and the model of each step, chosen together from one fine run."""
