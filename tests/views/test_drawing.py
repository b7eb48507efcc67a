"""Drawings: what they show, that nothing overlaps, and that they are well-formed and repeatable."""

from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest

from gangraph.build.phase import build
from gangraph.graph.model import Graph
from gangraph.language.document.parse import Choice, parse
from gangraph.language.resolve.document import resolve
from gangraph.views.drawing import Picture, draw, draw_network, network_picture, step_picture
from gangraph.views.drawing.arrange import arrange
from gangraph.views.drawing.layout import Box, Layout, Wire

SVG = "{http://www.w3.org/2000/svg}"

GAN = """
gangraph: 1
name: gan
about: two players
data:
  x: images("data/x", size=64)
  z: normal(100)
networks:
  G: dcgan_generator
  D: dcgan_discriminator
values:
  fake: G(z)
losses:
  judge: logistic.critic(D(x), D(detach(fake)))
  fool: logistic.generator(D(fake))
train:
  batch: 4
  length: 10 steps
  optimizers:
    D: adam(D, lr=1e-4)
    G: adam(G, lr=1e-4)
  step:
    - update: D
      minimize: judge
      times: 5
    - update: G
      minimize: fool
"""

PENALTY = """
gangraph: 1
name: penalty
about: a critic with a gradient penalty
data:
  x: images("data/x", size=64)
  z: normal(100)
networks:
  G: dcgan_generator
  D: dcgan_discriminator(norm=instance_norm)
  G_avg: average(G, decay=0.999)
values:
  fake: G(z)
  mix: lerp(x, fake, uniform(1))
losses:
  critic: mean(D(fake)) - mean(D(x)) + 10 * mean((norm(grad(D(mix), mix)) - 1) ** 2)
  generator: -mean(D(fake))
train:
  batch: 4
  length: 10 steps
  optimizers:
    D: adam(D, lr=1e-4)
    G: adam(G, lr=1e-4)
  step:
    - update: D
      minimize: critic
      draw: all
    - update: G
      minimize: generator
      draw: z
"""

CYCLE = """
gangraph: 1
name: cycle
about: unpaired translation
data:
  x: images("data/x", size=64)
  y: images("data/y", size=64)
networks:
  G: unet(levels=4)
  F: resnet_generator(blocks=2)
  D_x: patchgan
  D_y: patchgan
values:
  fake_y: G(x)
  fake_x: F(y)
  rec_x: F(fake_y)
  rec_y: G(fake_x)
losses:
  fool: least_squares.generator(D_y(fake_y)) + least_squares.generator(D_x(fake_x))
  cycle: l1(rec_x, x) + l1(rec_y, y)
  identity: l1(G(y), y) + l1(F(x), x)
  judge_x: 0.5 * least_squares.critic(real=D_x(x), fake=D_x(history(at_first(fake_x), 50)))
  judge_y: 0.5 * least_squares.critic(real=D_y(y), fake=D_y(history(at_first(fake_y), 50)))
train:
  batch: 4
  length: 10 steps
  optimizers:
    translators: adam([G, F], lr=2e-4)
    critics: adam([D_x, D_y], lr=2e-4)
  step:
    - update: translators
      minimize: fool + 10 * cycle + 5 * identity
    - update: critics
      minimize: judge_x + judge_y
"""


def graph_of(text: str, folder: Path) -> Graph:
    path = folder / "spec.yaml"
    path.write_text(text)
    spec = resolve(parse(path), Choice(profile="paper"))
    graph = build(spec.phases[0], spec.broken)
    assert not [problem for problem in graph.problems if problem.severity == "error"]
    return graph


@pytest.fixture(params=[GAN, PENALTY, CYCLE], ids=["gan", "penalty", "cycle"])
def graph(request: pytest.FixtureRequest, tmp_path: Path) -> Graph:
    return graph_of(request.param, tmp_path)


@pytest.fixture
def cycle(tmp_path: Path) -> Graph:
    return graph_of(CYCLE, tmp_path)


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def network_pictures(graph: Graph) -> list[Picture]:
    return [network_picture(network, {}) for network in graph.networks.values()]


def crossings_of_boxes(layout: Layout) -> list[tuple[Wire, str]]:
    """Wires that touch a box which is not their own: each wire is sampled densely."""
    found = []
    for wire in layout.wires:
        points = [point for points in segments(wire) for point in points]
        strangers = {name: box for name, box in layout.boxes.items() if name not in (wire.source, wire.target)}
        found += [(wire, name) for name, box in strangers.items() if any(inside(box, *point) for point in points)]
    return found


def segments(wire: Wire) -> list[list[tuple[float, float]]]:
    a, b, c, d, e, f = wire.points
    steps = [i / 40 for i in range(41)]
    straight = [[(p[0] + (q[0] - p[0]) * t, p[1] + (q[1] - p[1]) * t) for t in steps] for p, q in ((a, b), (e, f))]
    weights = [((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3) for t in steps]
    curve = [
        tuple(sum(w * p[axis] for w, p in zip(ws, (b, c, d, e), strict=True)) for axis in (0, 1)) for ws in weights
    ]
    return [*straight, [(x, y) for x, y in curve]]


def overlap(one: Box, other: Box) -> bool:
    return one.x < other.right and other.x < one.right and one.y < other.bottom and other.y < one.bottom


def inside(box: Box, x: float, y: float) -> bool:
    return box.x < x < box.right and box.y < y < box.bottom


def test_step_is_well_formed_and_says_what_it_is(graph: Graph) -> None:
    root = ElementTree.fromstring(draw(graph, title="A title", subtitle="A paper"))
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    assert [root.findtext(f"{SVG}title"), bool(root.findtext(f"{SVG}desc"))] == ["A title", True]
    assert "prefers-color-scheme" in (root.findtext(f"{SVG}style") or "")


def test_step_refers_to_nothing_outside(graph: Graph) -> None:
    svg = draw(graph)
    assert not [word for word in ("href", "url(", "@import", "<script") if word in svg]


def test_step_names_all_data_networks_values_losses_and_updates(graph: Graph) -> None:
    shown = texts(draw(graph))
    named = [*graph.spec.data, *graph.spec.networks, *graph.values, *graph.losses, *(u.name for u in graph.updates)]
    assert [name for name in named if name not in shown] == []


def test_step_boxes_do_not_overlap(graph: Graph) -> None:
    boxes = step_picture(graph, {}).layout.boxes
    assert [pair for pair in combinations(boxes, 2) if overlap(boxes[pair[0]], boxes[pair[1]])] == []


def test_step_wires_run_through_no_box(graph: Graph) -> None:
    assert crossings_of_boxes(step_picture(graph, {}).layout) == []


def test_step_wires_connect_every_edge_and_go_right(graph: Graph) -> None:
    picture = step_picture(graph, {})
    layout = picture.layout
    arrived = {(wire.source, wire.target) for wire in layout.wires if wire.target}
    assert arrived == set(picture.edges)
    assert all(layout.boxes[source].right < layout.boxes[target].x for source, target in picture.edges)


def test_step_is_drawn_the_same_every_time(graph: Graph) -> None:
    assert draw(graph, title="t") == draw(graph, title="t")


def test_a_long_title_makes_the_picture_wider(cycle: Graph) -> None:
    widths = [float(ElementTree.fromstring(draw(cycle, title=t)).get("width") or 0) for t in ("short", "long " * 60)]
    assert widths[1] > 2 * widths[0]


def test_arithmetic_is_folded_into_losses_and_updates(cycle: Graph) -> None:
    picture = step_picture(cycle, {})
    assert picture.figures["cycle"].lines == ("l1(rec_x, x) + l1(rec_y, y)",)
    assert picture.figures["update 1"].lines == ("minimize fool + 10 cycle + 5 identity",)
    assert [chip for chip, _ in picture.figures["update 1"].chips] == ["G", "F"]


def test_a_penalty_reads_as_its_formula(tmp_path: Path) -> None:
    picture = step_picture(graph_of(PENALTY, tmp_path), {})
    assert picture.figures["critic"].lines[-1] == "+ 10 mean((‖∇D(mix)‖ - 1)²)"


def test_calls_of_a_network_share_its_hue_and_networks_differ(cycle: Graph) -> None:
    calls = {(figure.head, figure.hue) for figure in step_picture(cycle, {}).figures.values() if figure.kind == "call"}
    assert len(calls) == len({hue for _, hue in calls}) == 4


def test_what_stops_gradients_is_drawn_dashed(cycle: Graph) -> None:
    picture = step_picture(cycle, {})
    stops = [name for name, figure in picture.figures.items() if figure.kind == "stop"]
    assert [picture.figures[name].head for name in stops] == ["history(at_first, 50)"] * 2
    assert draw(cycle).count(" dashed") == 2


def test_schedule_tells_the_order_the_times_and_the_draws(tmp_path: Path) -> None:
    shown = texts(draw(graph_of(GAN, tmp_path)))
    assert "1.  D: updates D; draws x and z afresh; 5 times in a row" in shown
    assert "2.  G: updates G; on the same draws as the update before" in shown


def test_text_is_escaped(cycle: Graph) -> None:
    svg = draw(cycle, title="<b> & co", subtitle='"quoted" <i>', shapes={"fake_y": "[B, <C> & more]"})
    assert {"<b> & co", '"quoted" <i>'} <= set(texts(svg))
    assert "[B, &lt;C&gt; &amp; more]" in svg


def test_shapes_stand_in_tooltips(cycle: Graph) -> None:
    root = ElementTree.fromstring(draw(cycle, shapes={"fake_y": "4 3 64 64"}))
    tips = [title.text or "" for title in root.iter(f"{SVG}title")]
    assert "fake_y\nG(x)\n4 3 64 64" in tips


def test_networks_are_well_formed_without_overlaps_or_wires_through_boxes(cycle: Graph) -> None:
    for name, network in cycle.networks.items():
        assert ElementTree.fromstring(draw_network(network, title=name)).findtext(f"{SVG}title") == name
    layouts = [picture.layout for picture in network_pictures(cycle)]
    assert [pair for layout in layouts for pair in combinations(layout.boxes.values(), 2) if overlap(*pair)] == []
    assert [crossing for layout in layouts for crossing in crossings_of_boxes(layout)] == []


def test_skip_connections_of_a_network_are_edges_of_their_own(cycle: Graph) -> None:
    picture = network_picture(cycle.networks["G"], {})
    heads = {name: figure.head for name, figure in picture.figures.items()}
    skips = {heads[source] for source, target in picture.edges if heads[target] == "cat"}
    assert {"down[1]", "down[2]", "down[3]"} <= skips


def test_a_chain_of_one_part_is_one_box(cycle: Graph) -> None:
    picture = network_picture(cycle.networks["D_x"], {})
    assert [figure.kind for figure in picture.figures.values()] == ["stream", "part", "stream"]


def test_wires_of_a_straight_chain_are_straight() -> None:
    layout = arrange(dict.fromkeys("abcd", (40.0, 20.0)), [("a", "b"), ("b", "c"), ("c", "d")])
    assert {y for wire in layout.wires for _, y in wire.points} == {10.0}


def test_a_crossing_that_can_be_avoided_is_avoided() -> None:
    layout = arrange(dict.fromkeys("abcd", (40.0, 20.0)), [("a", "d"), ("b", "c")])
    boxes = layout.boxes
    assert (boxes["a"].y < boxes["b"].y) == (boxes["d"].y < boxes["c"].y)


def test_nothing_at_all_can_be_arranged() -> None:
    assert arrange({}, []).boxes == {}


STATE = """
gangraph: 1
name: parts
data: {x: "fixed(plane())", z: normal(2), c: "fixed(normal(2))"}
networks:
  G: {inputs: z, layers: "linear(4), batch_norm, linear(2)"}
  D: mlp(widths=[8])
  S: {inputs: x, output: 2 * x}
values:
  fake: G(z)
losses:
  judge: logistic.critic(real=D(S(x)), fake=D(at_first(fake))) + k * mean(c)
  fool: logistic.generator(again(D(fake)))
state:
  k: {start: 0, next: "clamp(k + 0.1 * at_first(fool), 0, 1)"}
train:
  batch: 4
  length: 10 steps
  optimizers: {g: "adam(G, lr=1e-3)", d: "adam(D, lr=1e-3)"}
  step:
    - {update: g, minimize: fool}
    - {update: d, minimize: judge}
"""


def test_a_state_is_drawn_as_what_is_kept_and_not_as_data(tmp_path: Path) -> None:
    graph = graph_of(STATE, tmp_path)
    kinds = {figure.name: figure.kind for figure in step_picture(graph, {}).figures.values()}
    assert [kinds["k"], kinds["x"]] == ["state", "stream"]
    assert "state, kept between steps" in texts(draw(graph))


def test_a_function_has_no_hue_in_the_legend_as_it_has_none_where_it_is_called(tmp_path: Path) -> None:
    svg = draw(graph_of(STATE, tmp_path))
    chip = svg[: svg.index(">a function<")].rpartition("<rect")[2]
    assert chip.startswith(' class="op"')


def test_calls_that_no_update_makes_are_not_drawn(tmp_path: Path) -> None:
    picture = step_picture(graph_of(STATE, tmp_path), {})
    given = {source for source, _ in picture.edges}
    calls = [name for name, figure in picture.figures.items() if figure.kind == "call"]
    assert len(calls) == 5  # two of G, three of D: D(fake) itself is computed by no update
    assert [name for name in calls if name not in given] == []


def test_what_is_fixed_is_not_drawn_afresh(tmp_path: Path) -> None:
    shown = texts(draw(graph_of(STATE, tmp_path)))
    assert "1.  g: updates G; draws z afresh; x and c as in every step" in shown


def test_a_network_from_elsewhere_is_not_written_in_this_spec(tmp_path: Path) -> None:
    text = STATE.replace("  S: {inputs: x, output: 2 * x}", '  C: trained("evaluators/digits", network="C", size=8)')
    text = text.replace('{x: "fixed(plane())"', "{x: plane(), i: digits(size=8)").replace("D(S(x))", "D(x)")
    shown = texts(draw(graph_of(text.replace("fool: ", "fool: mean(C(i.image).digit) + ", 1), tmp_path)))
    assert 'trained("evaluators/digits", network="C", size=8), frozen, in evaluation mode' in shown
