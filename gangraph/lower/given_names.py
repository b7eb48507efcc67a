"""What a segment calls that which it is given beside values: the random numbers and the states of networks."""

UNIFORM = "uniform"  # the name of the random numbers by which the pixels of a drawn image are chosen


def state_name(call: str) -> str:
    """The name of the state that a network had before a call."""
    return f"{call}.state.before"


def noise_name(call: str, draw: str) -> str:
    """The name of the random numbers that a layer, `draw`, takes in one call of its network."""
    return f"{call}.{draw}"
