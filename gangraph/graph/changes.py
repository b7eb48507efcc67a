"""What an update changes each time it runs: the sources that it draws anew, the networks that it trains."""

from gangraph.data.fixed import is_fixed
from gangraph.graph.model import Graph


def drawn(graph: Graph, index: int) -> tuple[str, ...]:
    """The sources that an update draws anew each time it runs, without fixed ones, which give the same each time."""
    update = graph.step[index]
    every = update.accumulate > 1 and update.draws is None
    drawn = tuple(graph.sources) if every else update.draws or ()
    return tuple(name for name in drawn if not is_fixed(graph.sources[name]))


def moved(graph: Graph, index: int) -> tuple[str, ...]:
    """The networks that an update changes: by training, by `then`, or because they are tied to one of these."""
    update = graph.step[index]
    then = [each.network for each in update.then]
    tied = (other for network in then for other in graph.tied.get(network, ()))
    return tuple(dict.fromkeys((*update.networks, *then, *tied)))
