"""What an update changes each time that it runs: the sources it draws, the networks it moves."""

from gangraph.data.fixed import is_fixed
from gangraph.graph.model import Graph


def drawn(graph: Graph, index: int) -> tuple[str, ...]:
    """The sources that an update draws anew each time it runs; a fixed one gives the same, so it is not."""
    update = graph.step[index]
    every = update.accumulate > 1 and update.draws is None
    drawn = tuple(graph.sources) if every else update.draws or ()
    return tuple(name for name in drawn if not is_fixed(graph.sources[name]))


def moved(graph: Graph, index: int) -> tuple[str, ...]:
    """The networks that an update changes: what it trains, what `then` changes, and all that are tied to these."""
    update = graph.step[index]
    then = [each.network for each in update.then]
    tied = (other for network in then for other in graph.tied.get(network, ()))
    return tuple(dict.fromkeys((*update.networks, *then, *tied)))
