"""When the updates of a step run, a line each: what stands below the drawing."""

from collections.abc import Iterator

from gangraph.data.fixed import is_fixed
from gangraph.errors import listed
from gangraph.graph.model import Graph
from gangraph.language.expression.model import unparse
from gangraph.language.spec import AverageSpec
from gangraph.update_options import UPDATE_OPTIONS
from gangraph.views.printers.words import constant_text
from gangraph.views.wording import counted


def schedule(graph: Graph) -> Iterator[str]:
    """One line for each update, and for each network that follows another as its average."""
    for number, update in enumerate(graph.updates, 1):
        draws = update.draws if update.draws is not None or number > 1 else tuple(graph.spec.data)
        given = [name for name in draws or () if name in graph.spec.data]
        fresh = [name for name in given if not is_fixed(graph.sources[name])]
        same = [name for name in given if name not in fresh]
        shared = "on the same draws as the update before"
        parts = [shared if draws is None else f"draws {listed(fresh) or 'nothing'} afresh"]
        parts += [f"{listed(same)} as in every step"] * bool(same)
        options = ((UPDATE_OPTIONS[name], value) for name, value in update.options.items())
        parts += [key.told(key.caption, unparse(value)) for key, value in (*update.timing, *options)]
        parts += [f"looks {counted(each.steps, 'step')} of {each.group} ahead" for each in update.lookaheads]
        parts += [f"takes gradients {counted(update.ahead, 'step')} ahead of it"] * bool(update.ahead)
        parts += ["evaluates several times"] * update.closure
        parts += [f"{each.group} when {unparse(each.when)}" for each in update.objectives if each.when is not None]
        parts += [
            f"then {each.operation}({', '.join([each.place.written, *map(constant_text, each.numbers)])})"
            for each in update.then
        ]
        named = graph.trained(*update.objectives)
        yield f"{number}.  {update.name}: updates {listed(named)}; " + "; ".join(parts)
    for number, entry in enumerate(graph.moves, len(graph.updates) + 1):
        often = [key.told(key.caption, unparse(value)) for key, value in entry.timing]
        moved = listed(name for name, _ in entry.states)
        yield f"{number}.  {entry.name}: moves {moved}; " + "; ".join(["at the end of the step", *often])
    for name, made in graph.spec.networks.items():
        if isinstance(made, AverageSpec):
            yield f"∘  {name} follows {made.of} as a moving average, decay {unparse(made.decay)}"
