"""A schedule for a budget: the request, the exact solution, and how it is shown."""
