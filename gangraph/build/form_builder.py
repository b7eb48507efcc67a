"""What a kind of node that a spec spells as a call asks of the stage that builds values: `graph.kind.Builder`."""

from collections.abc import Mapping

from gangraph.build.again import computed_anew
from gangraph.build.expressions import ExpressionBuilder, NodeTable
from gangraph.build.require_place import require_place
from gangraph.errors import give_up, nearest, refuse
from gangraph.graph.model import Argument, NetworkGraph, Node, Ref
from gangraph.language.expression import model as ast
from gangraph.language.place import Place, place_of
from gangraph.language.spec import AverageSpec, NetworkSpec, PhaseSpec


class FormBuilder(ExpressionBuilder):
    """The arguments of such calls, the places in networks that they name, and the calls that need more than a record.

    Attributes:
        evaluating: whether this is an evaluation, where nothing is differentiated or trained.
        broken: names that have a problem, which is reported already.
        owner: the value, loss or variable that is being built; empty where there is none.
    """

    def __init__(
        self, spec: PhaseSpec, networks: Mapping[str, NetworkGraph], broken: set[str], *, evaluating: bool
    ) -> None:
        super().__init__(NodeTable())
        self.spec, self.networks, self.broken, self.evaluating = spec, networks, broken, evaluating
        self.owner = ""

    def arguments_of(self, call: ast.Call, count: int, usage: str) -> list[Argument]:
        """What the arguments of a call stand for. Raises SpecError for another number of them, or named ones."""
        if len(call.arguments) != count or call.keywords:
            refuse("GG312", f"'{ast.unparse(call.function)}' is called wrongly", call.span, ast.unparse(call), usage)
        return [self.visit(argument) for argument in call.arguments]

    def values_of(self, call: ast.Call, count: int, usage: str) -> list[Argument]:
        """As `arguments_of`, each computed when the program runs. Raises SpecError."""
        made = self.arguments_of(call, count, usage)
        for value, written in zip(made, call.arguments, strict=True):
            if not isinstance(value, Ref):
                name = ast.unparse(call.function)
                refuse("GG313", f"'{name}' takes a value, not a constant", written.span, ast.unparse(written), usage)
        return made

    def add(self, kind: str, hint: str, call: ast.Call, *arguments: Argument, target: str = "", field: str = "") -> Ref:
        """The node of a call that is spelled as its kind."""
        return self.table.add(kind, hint, span=call.span, target=target, field=field, arguments=arguments)

    @property
    def measures(self) -> bool:
        """Whether these are values of an evaluation."""
        return self.evaluating

    def node_of(self, argument: Argument) -> Node | None:
        """The node that an argument refers to; None for a constant."""
        return self.table.nodes[argument.id] if isinstance(argument, Ref) else None

    def is_network(self, name: str) -> bool:
        """Whether the spec has a network of this name, which is no variable."""
        return name in self.spec.networks and not self.spec.is_variable(name)

    def place_of(self, call: ast.Call, usage: str) -> Place:
        """The network, part, layer or parameter that a call names. Raises SpecError."""
        if len(call.arguments) != 1 or call.keywords:
            refuse("GG312", f"'{ast.unparse(call.function)}' is called wrongly", call.span, ast.unparse(call), usage)
        (written,) = call.arguments
        place = place_of(written)
        name = place.network if place is not None else ""
        if name in self.broken:
            give_up()
        if place is None or name not in self.spec.networks:
            known = list(self.spec.networks)
            refuse(
                "GG542",
                "parameters are those of a network",
                written.span,
                ast.unparse(written),
                "one of " + ", ".join(known),
                nearest(name, known),
            )
        network = self.spec.networks[name]
        require_place(place, self.layers_of(network, name))
        return place

    def layers_of(self, network: NetworkSpec | AverageSpec, name: str) -> NetworkGraph:
        """The layers of a network. Gives up on the value if they have a problem, which is reported elsewhere."""
        graph = self.networks.get(network.of if isinstance(network, AverageSpec) else name)
        return graph if graph is not None else give_up()

    def matrices_of(self, call: ast.Call, usage: str) -> tuple[Place, NetworkGraph]:
        """The place that `matrices(G)` names, and the network's layers. Raises SpecError."""
        place = self.place_of(call, usage)
        return place, self.layers_of(self.spec.networks[place.network], place.network)

    def autoregressive(self, node: ast.Call) -> Argument:
        """An image that a network draws pixel by pixel. Raises SpecError."""
        hint = self.take_hint("drawn")
        usage = "autoregressive(P(x), x, rows=8): x with all pixels below its first rows drawn from P"
        if not self.evaluating:
            refuse("GG570", "pixels are drawn in evaluations only", node.span, ast.unparse(node), "it under evaluate:")
        if len(node.arguments) != 2 or any(key != "rows" for key, _ in node.keywords):
            refuse("GG312", "'autoregressive' is called wrongly", node.span, ast.unparse(node), usage)
        call, image = (self.visit(argument) for argument in node.arguments)
        rows = {key: self.visit(value) for key, value in node.keywords}
        made = self._call_behind(call)
        if made is None or not isinstance(image, Ref) or image.id not in made.inputs:
            refuse(
                "GG571", "an image is drawn from a network that is called on it", node.span, ast.unparse(node), usage
            )
        if any(isinstance(count, bool) or not isinstance(count, int) or count < 0 for count in rows.values()):
            written = dict(node.keywords)["rows"]
            refuse("GG572", "the rows that stay are a number of rows", written.span, ast.unparse(written), usage)
        return self.table.add(
            "autoregressive", hint, span=node.span, unique=(self.owner, node.span), target=made.target,
            arguments=(call, image), keywords=tuple(rows.items()),
        )  # fmt: skip

    def again(self, node: ast.Call) -> Argument:
        """The value of `again(v)`. Raises SpecError."""
        hint, usage = self.take_hint("again"), "again(value): the value, every call of a network beneath it made anew"
        (value,) = self.values_of(node, 1, usage)
        assert isinstance(value, Ref)
        made = computed_anew(self.table, value)
        if made is None:
            refuse(
                "GG556",
                "nothing is computed anew here: no call of a network is on the way to this value",
                node.span,
                ast.unparse(node),
                "a value that a network computes, such as again(D(x)); not behind detach, at_first or history",
            )
        return self.table.add("again", hint, span=node.span, arguments=(made,), anew=value.id)

    def _call_behind(self, value: Argument) -> Node | None:
        """The call of a network that a value is, or is an output of."""
        node = self.table.nodes[value.id] if isinstance(value, Ref) else None
        if node is not None and node.kind == "output":
            node = self.table.nodes[node.inputs[0]]
        return node if node is not None and node.is_call else None
