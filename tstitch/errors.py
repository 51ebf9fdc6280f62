"""The one exception of the pack."""


class StitchError(ValueError):
    """Wrong use of a node. The message is one sentence for the user: input, values, remedy."""
