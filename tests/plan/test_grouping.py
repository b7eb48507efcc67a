"""Groups of nodes that become one: as a search in the contracted graph finds them, and never in a circle."""

import random
import time

import networkx as nx
import pytest

from gangraph.plan.grouping import grouped


def by_search(before: dict[str, list[str]], alike: dict[str, str]) -> tuple[tuple[str, ...], ...]:
    """The same by contracting the graph for each group, and looking for paths."""
    graph = nx.DiGraph()
    graph.add_nodes_from(before)
    graph.add_edges_from((each, name) for name, needs in before.items() for each in needs)
    groups: dict[str, list[list[str]]] = {}
    for name in (name for name in before if name in alike):
        likes = groups.setdefault(alike[name], [])
        free = (
            group
            for group in likes
            if not nx.has_path(graph, group[0], name) and not nx.has_path(graph, name, group[0])
        )
        if (group := next(free, None)) is None:
            likes.append([name])
        else:
            graph = nx.contracted_nodes(graph, group[0], name, self_loops=False)
            group.append(name)
    assert nx.is_directed_acyclic_graph(graph)
    return tuple(tuple(group) for likes in groups.values() for group in likes if len(group) > 1)


@pytest.mark.parametrize("seed", range(150))
def test_groups_are_those_that_a_search_finds(seed: int) -> None:
    draw = random.Random(seed)
    names = [f"n{number}" for number in range(draw.randint(2, 40))]
    density = draw.choice([0.5, 1, 2, 3])
    before = {
        name: sorted({draw.choice(names[:place]) for _ in range(round(draw.random() * density))} if place else ())
        for place, name in enumerate(names)
    }
    alike = {name: draw.choice("ab"[: draw.randint(1, 2)]) for name in names if draw.random() < 0.7}
    assert grouped(before, alike) == by_search(before, alike)


def test_nodes_that_need_each_other_by_way_of_a_group_stay_apart() -> None:
    before = {"a1": [], "b1": [], "b2": ["a1"], "a2": ["b1"]}
    assert grouped(before, {"a1": "a", "a2": "a", "b1": "b", "b2": "b"}) == (("b1", "b2"),)


@pytest.mark.parametrize("form", ["chain", "fan", "two chains"])
def test_thousands_of_calls_are_grouped_at_once(form: str) -> None:
    width = {"chain": 1, "fan": 4000, "two chains": 2}[form]
    before = {str(number): [str(number - width)] if number >= width else [] for number in range(4000)}
    began = time.perf_counter()
    groups = grouped(before, dict.fromkeys(before, "one"))
    assert len(groups) == {"chain": 0, "fan": 1, "two chains": 2000}[form]
    assert time.perf_counter() - began < 5
