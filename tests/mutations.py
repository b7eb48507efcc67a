"""Mutations of the shipped specs and network files that know the grammar of both."""

import dataclasses
import json
import random
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from gangraph.errors import SpecError
from gangraph.language.document import tree as trees
from gangraph.language.document.library import evaluators, shipped
from gangraph.language.document.parse import Choice, chosen_tree, parse
from gangraph.language.expression import model as ast
from gangraph.language.expression.model import Expression, unparse
from gangraph.language.expression.syntax import parse_chain
from gangraph.language.scalar import Scalar
from gangraph.pipeline import _written
from gangraph.registry import vocabulary
from tests.support import TINY

# Two specs that hold what the shipped ones have little of: phases, loops, simultaneous updates.
OWN = {path.stem: path for path in sorted((Path(__file__).parent / "fuzz").glob("*.yaml"))}

Tree = Any  # a dict or list of trees, or a string: what YAML holds


def _listed(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(";"))


NUMBERS = _listed("""
    0; 1; -1; 2; 3; 4; 5; 7; 8; 0.5; -0.5; 1e-9; 1.5; 16; 17; 64; 100; 1000; 1000000; 10 ** 9; 1e29; 1e308; none;
    true; 'a'; []; [1]; [2, 3]; 1..3; 3..1; step; progress; linear(1, 0)
""")
CHARACTERS = (
    *(
        "",
        "(",
        ")",
        "[",
        "]",
        "{",
        ",",
        ": ",
        "'",
        '"',
        "\x00",
        "\x1b[31m",
        "\t",
        "🙂",
        "#",
        "&a ",
        "*a",
        "!",
        "%",
        "|\n",
    ),
    *("- ", "\\", "é", "\r", "\u2028", "?", "@", "`", "0", "9" * 400, "(" * 60, "\x07", "\x9b", "\u202e", "\ufeff"),
)
TOKENS = (
    "0", "-1", "1", "2.5", "1e308", "1e-400", "10 ** 12", "1000000007", "1..10**9", "10**9..1", "9" * 5000, "inf",
    "nan", "1/0", "none", "true", "step", "epoch", "x", "z", "fake", "D", "G", "D(fake)", "G(z)", "fake[0]", "params",
    "params.size", "sum(k for k in 1..9)", "mean", "judge", "(", ")", "[", "]", "{", "}", ":", ": ", "#", " # ", "*",
    "&", "!", "!!python/object:os.system", "&a", "*a", "|", ">", "%", "@", "`", "'", '"', ",", ".", "..", "**", "^",
    "==", "=", "if", "else", "for", "in", "not", "- ", "? ", "---", "...", "\t", "\n", "\r\n", "\\", "\x00", "\x07",
    "\ufeff", "é", "漢字", "🙂", "\u2028", "٣", "²", "[" * 200, "(" * 200, "-" * 500, "{a: " * 100, "1 + " * 400 + "1",
    "a" * 20000, "fake + " * 90 + "fake", "[[k for k in 1..1000] for j in 1..1000]", "history(fake, 50)", "at_first(x)",
    "detach(fake)", "grad(D(x), x)", "conv2d(10 ** 12, 3)", "conv2d(8, 0)", "linear(10**9)", "linear(-1)",
    "batch_norm", "reshape(3, 5)", "upsample(10**6)", "spectral_norm(linear(8))", "rearrange('a b -> b a')",
    "dropout(2)", "normal(10**12, 10**12)", "uniform(1)", "world(size=16)", "plane(kind='grid')", "adam",
    "clip(D, -1, 1)", "linear(1, 0, end=5 epochs)", "5 steps",
)  # fmt: skip
OPERATORS = ("+", "-", "*", "/", "//", "%", "**", "<", "<=", "==", "!=", "and", "or", "in")
UNITS = ("steps", "epochs", "images", "kimg")
TIMES = ("step", "epoch", "seen", "progress")
NAMES = (
    *_listed("""
    x; z; y; fake; real; G; D; self; step; loss; all; none; params; layers; output; k; detach; mean; import;
    torch; lambda; forward; class; _; __init__; training; state; draws; networks; évasé; x.y; x y; 1x
"""),
    "a" * 300,
    "",
)
WRAPPERS = _listed("""
    mean({}); detach({}); at_first({}); history({}, 4); -{}; {} + {}; {} * {}; {} / 2; {} ** 2; 1 / {}; norm({});
    {}[0]; {}[1]; {}(x); {}(); {}.score; {}.a; [{}]; [{}, {}]; grad({}, x); grad({}, {});
    norm(grad(mean({}), {})); cat({}, {}); concat({}, {}); flatten({}); reshape({}, 2, 2); sum({}); abs({});
    lerp({}, {}, 0.5); running({}, decay=0.9); parameters({}); average({}, decay=0.9); sum({} for k in 1..2);
    [{} for k in 1..2]; {} if step > 1 else 0; {} if 1 > 2; spectral_norm({}); weight_norm({}); equalized({});
    l1({}, {}); l2({}, 1); bce({}, 0); logistic.critic(real={}, fake={}); wasserstein.generator({}); softmax({});
    one_hot({}, 3); cross_entropy({}, {}); embedding(4)({}); autoregressive({}, x); trained({}, network='G');
    linear({}, 0); cosine({}, 1, end=3 steps); {} steps; {} epochs; uniform({}); normal({}); categorical({});
    resize({}, 8); max({}, 1); not {}; {}..{}; clip({}, -1, 1); adam({}, lr=0.1); running_mean({});
    minibatch_stddev({}); repeat({}, 2)
""")
CALLS = _listed("""
    conv2d(4, 3, padding=1); conv2d(4, 3, stride=2); conv_transpose2d(4, 4, stride=2, padding=1); linear(5);
    linear(1); batch_norm; instance_norm; layer_norm; group_norm(2); pixel_norm; dropout(0.5); leaky_relu(0.2);
    tanh; sigmoid; relu; flatten; unflatten(4, 2, 2); reshape(4, 2, 2); upsample(2); avg_pool2d(2);
    max_pool2d(2); spectral_norm(linear(3)); embedding(10, 4); minibatch_discrimination(3, 2); minibatch_stddev;
    lstm(3); rearrange('b c h w -> b (c h w)'); softmax; noise(0.1); mean; none
""")
SOURCES = _listed("""
    normal(2); normal(3, 4, 4); uniform(4); categorical(10); bernoulli(3); plane(std=0.3); digits(size=8);
    world(size=8); digits(size=16); normal(); images(folder='nowhere', size=8)
""")
OPTIMIZERS = _listed("""
    adam(G, lr=0.1); sgd(D, lr=0.1, momentum=0.9); adam([G, D], lr=1e-3); rmsprop(D); adamw(G, betas=[0.5, 0.9]);
    adam(G, lr=linear(1, 0)); adagrad(G); lbfgs(G); adam(G.layers); sparse_adam(D)
""")


@dataclass(frozen=True)
class Mutant:
    """A damaged spec, damaged copies of network files beside it, and the form that is asked for."""

    spec: str
    text: str
    networks: dict[str, str]
    variant: str | None
    steps: tuple[str, ...]

    def write(self, folder: Path) -> Path:
        """Lay the files into a folder; the path of the spec."""
        (folder / "networks").mkdir(parents=True, exist_ok=True)
        for name, text in self.networks.items():
            (folder / "networks" / f"{name}.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
        path = folder / "mutant.yaml"
        path.write_bytes(self.text.encode("utf-8", "surrogatepass"))
        return path


# --- what there is to begin with


@cache
def base(name: str, to_run: bool = False) -> Tree:
    """A shipped spec in its tiny form, with the quick profile laid into the document; to run it, without evaluators."""
    path = {**shipped(), **evaluators(), **OWN}[name]
    document = parse(path)
    profile = "quick" if "quick" in document.overlays("profiles") else None
    settings = {key: _written(value) for key, value in TINY.get(name, {}).items()}
    tree, _ = chosen_tree(document, Choice(profile=profile, set=settings))
    plain = _plain(tree)
    plain.pop("default_profile", None)
    plain.pop("profiles", None)
    if "none" in settings.values():  # claims on what the tiny form does not measure
        plain.pop("claims", None)
    if to_run:
        plain.pop("claims", None)
        plain.pop("reported", None)
        _without_evaluators(plain)
    return plain


def _without_evaluators(tree: Tree) -> None:
    """Take out the networks that another spec would have to train, and what is computed by them."""
    top = [*tree.get("evaluate", {}).get("networks", {})]
    for evaluate in (tree.get("evaluate", {}), *(v.get("evaluate", {}) for v in tree.get("variants", {}).values())):
        gone = {*top, *evaluate.pop("networks", {})}
        inside = [evaluate[section] for section in ("values", "metrics", "results", "samplers") if section in evaluate]
        while lost := {name for part in inside for name, value in part.items() if _names_one_of(value, gone)}:
            gone |= lost
            for part in inside:
                for name in lost & part.keys():
                    del part[name]
        if _names_one_of(evaluate.get("best", ""), gone):
            del evaluate["best"]


def _names_one_of(value: object, names: set[str]) -> bool:
    return not names.isdisjoint(re.findall(r"\w+", str(value)))


@cache
def network(name: str) -> Tree:
    """A shipped network file."""
    return _plain(trees.read_tree(_text(shipped("networks")[name])))


def _text(path: Path) -> Any:
    from gangraph.errors import Text

    return Text(path.name, path.read_text())


def _plain(tree: trees.Tree) -> Tree:
    if isinstance(tree, trees.TreeMapping):
        return {str(key): _plain(value) for key, value in tree.items()}
    if isinstance(tree, trees.TreeSequence):
        whole = all(isinstance(item, Scalar) for item in tree) and tree.raw.lstrip().startswith("[")
        return Raw(re.sub(r"\s*\n\s*", " ", tree.raw)) if whole else [_plain(item) for item in tree]
    return str(tree)


class Raw(str):
    """A list that YAML and an expression may both read, as it was written."""


@cache
def pool() -> dict[str, list[Tree]]:
    """Everything that stands under each key of the shipped specs and networks, and all parts of expressions."""
    found: dict[str, list[Tree]] = {"": []}
    for tree in [*map(base, specs()), *map(network, shipped("networks"))]:
        for holder, key in places(tree):
            value = holder[key]
            found.setdefault(str(key) if isinstance(holder, dict) else "", []).append(value)
            if isinstance(value, str):
                found[""].extend(unparse(node) for item in _parsed(value) or () for node in ast.walk(item))
    return found


@cache
def specs() -> tuple[str, ...]:
    return (*shipped(), *evaluators(), *OWN)


@cache
def keywords() -> tuple[str, ...]:
    """Every keyword of the vocabulary, and those of the language."""
    known = {parameter for definition in vocabulary.values() for parameter in definition.signature.parameters}
    return (
        *sorted(known),
        "lr",
        "betas",
        "momentum",
        "share",
        "decay",
        "buffers",
        "size",
        "eps",
        "amsgrad",
        "network",
        "end",
        "start",
        "rows",
    )


# --- places, and how a tree is written


def places(tree: Tree) -> Iterator[tuple[Any, Any]]:
    """Each value of a tree, as what holds it and its key or position."""
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
        yield tree, key
        if isinstance(tree[key], dict | list):
            yield from places(tree[key])


def emit(tree: Tree, indent: int = 0) -> str:
    """A tree as YAML in block style."""
    space = "  " * indent
    if isinstance(tree, dict):
        return "".join(f"{space}{_scalar(key)}:{_value(value, indent)}" for key, value in tree.items())
    return "".join(f"{space}-{_value(value, indent)}" for value in tree)


def _value(value: Tree, indent: int) -> str:
    if isinstance(value, dict | list):
        empty = "{}" if isinstance(value, dict) else "[]"
        return f"\n{emit(value, indent + 1)}" if value else f" {empty}\n"
    return f" {value if isinstance(value, Raw) and _is_list(value) else _scalar(value)}\n"


def _is_list(text: str) -> bool:
    try:
        return isinstance(yaml.compose(f"k: {text}", Loader=yaml.SafeLoader).value[0][1], yaml.SequenceNode)
    except (yaml.YAMLError, AttributeError, IndexError, TypeError):
        return False


@cache
def _scalar(text: str) -> str:
    try:
        node = yaml.compose(f"k: {text}", Loader=yaml.SafeLoader)
        value = node.value[0][1]
        if (
            isinstance(value, yaml.ScalarNode)
            and value.value == text
            and value.style is None
            and len(node.value) == 1
            and ": " not in text
        ):
            return text
    except (yaml.YAMLError, AttributeError, IndexError, TypeError):
        pass
    return json.dumps(text)


def _parsed(text: str) -> tuple[Expression, ...] | None:
    try:
        return parse_chain(Scalar.of(text, "mutant"))
    except SpecError:
        return None


# --- mutations of expressions


def mutated_expression(pick: random.Random, text: str) -> str:
    """The text of an expression or chain with one node of its tree changed; None where it is none."""
    items = _parsed(text)
    if items is None or not items:
        return _tokens(pick, text)
    items = list(items)
    match pick.randrange(12):
        case 0 if len(items) > 1:
            del items[pick.randrange(len(items))]
        case 1:
            items.insert(pick.randrange(len(items) + 1), _fragment(pick))
        case 2 if len(items) > 1:
            pick.shuffle(items)
        case _:
            index = pick.randrange(len(items))
            nodes = list(ast.walk(items[index]))
            target = pick.choice(nodes)
            items[index] = _replaced(items[index], target, _changed(pick, target))
    shown = ", ".join(map(unparse, items))
    return Raw(shown) if isinstance(text, Raw) else shown


def _fragment(pick: random.Random) -> Expression:
    """A piece of an expression: of another spec, of the vocabulary, or a name."""
    text = pick.choice(
        (
            pick.choice(pool()[""]),
            pick.choice(pool()[""]),
            pick.choice(CALLS),
            pick.choice(SOURCES),
            pick.choice(NAMES),
            _call(pick),
        )
    )
    return (_parsed(str(text)) or (ast.Name("x", None),))[0]  # type: ignore[arg-type]


def _call(pick: random.Random) -> str:
    """A call of something in the vocabulary with some arguments."""
    name = pick.choice(list(vocabulary))
    arguments = [pick.choice((*NUMBERS, "x", "fake", "D(x)")) for _ in range(pick.randrange(4))]
    known = list(vocabulary[name].signature.parameters)
    if known and pick.random() < 0.4:
        arguments.append(f"{pick.choice(known)}={pick.choice((*NUMBERS, 'x', 'fake', 'D(x)'))}")
    return f"{name}({', '.join(arguments)})"


def _replaced(tree: Expression, old: Expression, new: Expression) -> Expression:
    """The expression with one node, known by its identity, replaced."""
    if tree is old:
        return new
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(tree):
        value = getattr(tree, field.name)
        if isinstance(value, Expression.__args__):  # type: ignore[attr-defined]
            changes[field.name] = _replaced(value, old, new)
        elif isinstance(value, tuple):
            changes[field.name] = tuple(
                (item[0], _replaced(item[1], old, new)) if isinstance(item, tuple) else _replaced(item, old, new)
                for item in value
            )
    return dataclasses.replace(tree, **changes) if changes else tree


def _changed(pick: random.Random, node: Expression) -> Expression:
    """Another node in place of one."""
    kind = pick.random()
    if kind < 0.2:
        return _fragment(pick)
    if kind < 0.35:
        wrapper = pick.choice(WRAPPERS)
        return (_parsed(wrapper.replace("{}", f"({unparse(node)})")) or (node,))[0]
    match node:
        case ast.Literal(value=bool() | None) | ast.Literal(value=str()):
            return (_parsed(pick.choice((*NUMBERS, "'b'", "''", "'../x'", f"'{pick.choice(NAMES)}'"))) or (node,))[0]
        case ast.Literal():
            near = (
                f"{node.value} + 1",
                f"{node.value} * 2",
                f"{node.value} - 1",
                f"-{node.value}",
                f"{node.value} / 2",
            )
            return (_parsed(pick.choice((*NUMBERS, *near, *near))) or (node,))[0]
        case ast.Quantity(value=value):
            return dataclasses.replace(node, unit=pick.choice(UNITS), value=pick.choice((value, 0, 1, 0.5, 3, 10**9)))
        case ast.Name():
            return dataclasses.replace(node, id=pick.choice((*TIMES, *NAMES, *vocabulary, *_nearby(pick))) or "x")
        case ast.Attribute():
            return pick.choice(
                (
                    node.base,
                    dataclasses.replace(node, name=pick.choice(("score", "features", "critic", "a", "size", "layers"))),
                )
            )
        case ast.Index():
            return pick.choice(
                (node.base, dataclasses.replace(node, index=_fragment(pick)), _number(pick, node, "index"))
            )
        case ast.Call():
            return _changed_call(pick, node)
        case ast.Unary():
            return pick.choice((node.operand, dataclasses.replace(node, operator=pick.choice(("-", "+", "not")))))
        case ast.Binary():
            return pick.choice(
                (
                    node.left,
                    node.right,
                    dataclasses.replace(node, operator=pick.choice(OPERATORS)),
                    dataclasses.replace(node, left=node.right, right=node.left),
                )
            )
        case ast.Conditional():
            return pick.choice(
                (node.then, dataclasses.replace(node, otherwise=None), dataclasses.replace(node, test=_fragment(pick)))
            )
        case ast.Range():
            return pick.choice(
                (
                    dataclasses.replace(node, start=node.stop, stop=node.start),
                    _number(pick, node, "stop"),
                    _number(pick, node, "start"),
                )
            )
        case ast.Sequence(items=items) if items:
            return dataclasses.replace(
                node,
                items=pick.choice((items[1:], items + items[:1], tuple(reversed(items)), (*items, _fragment(pick)))),
            )
        case ast.Comprehension():
            return pick.choice(
                (
                    dataclasses.replace(node, variable=pick.choice(("k", "x", "step"))),
                    dataclasses.replace(node, domain=_fragment(pick)),
                )
            )
    return _fragment(pick)


def _nearby(pick: random.Random) -> list[str]:
    return [str(pick.choice(pool()[""])) for _ in range(40)]


def _number(pick: random.Random, node: Expression, part: str) -> Expression:
    value = (_parsed(pick.choice(NUMBERS)) or (node,))[0]
    return dataclasses.replace(node, **{part: value})  # type: ignore[arg-type]


def _changed_call(pick: random.Random, node: ast.Call) -> Expression:
    arguments, given = list(node.arguments), list(node.keywords)
    match pick.randrange(8):
        case 0 if arguments:
            del arguments[pick.randrange(len(arguments))]
        case 1 if arguments:
            arguments.append(pick.choice(arguments))
        case 2:
            arguments.insert(pick.randrange(len(arguments) + 1), _fragment(pick))
        case 3 if given:
            del given[pick.randrange(len(given))]
        case 4:
            given.append((pick.choice(keywords()), (_parsed(pick.choice(NUMBERS)) or (node,))[0]))
        case 5 if given:
            at = pick.randrange(len(given))
            given[at] = pick.choice(((pick.choice(keywords()), given[at][1]), (given[at][0], _fragment(pick))))
        case 6:
            pick.shuffle(arguments)
        case _:
            other = ast.Name(pick.choice((*vocabulary, *NAMES[:10])), node.span)
            return dataclasses.replace(node, function=other)
    return dataclasses.replace(node, arguments=tuple(arguments), keywords=tuple(dict(given).items()))


def _tokens(pick: random.Random, text: str) -> str:
    """A text that is no expression, such as a key with a range, with one token changed."""
    tokens = re.findall(r"[A-Za-z_]\w*|\d+(?:\.\d+)?|[^\w\s]|\s+", text)
    if not tokens:
        return pick.choice(NAMES)
    tokens[pick.randrange(len(tokens))] = pick.choice((*tokens, *NUMBERS, *NAMES, *TOKENS))
    return "".join(tokens)


# --- mutations of trees: each changes the tree in place and says what it did


def _value_of(pick: random.Random, tree: Tree) -> tuple[Any, Any]:
    """A place, whose section is chosen first: else the large sections would be met always."""
    section = pick.choice(list(tree))
    inside = tree[section]
    found = [(tree, section), *places(inside)] if isinstance(inside, dict | list) and inside else [(tree, section)]
    return pick.choice(found)


def change_expression(pick: random.Random, tree: Tree) -> str:
    candidates = [
        (h, k) for h, k in places(tree) if isinstance(h[k], str) and k not in ("about", "say", "title", "authors")
    ]
    if not candidates:
        return "nothing"
    sections = [place for place in [_value_of(pick, tree)] if isinstance(place[0][place[1]], str)]
    holder, key = pick.choice([*sections * len(candidates), *candidates])
    before, holder[key] = holder[key], mutated_expression(pick, holder[key])
    return f"{key}: {before} -> {holder[key]}"


def swap_values(pick: random.Random, tree: Tree) -> str:
    first = _value_of(pick, tree)
    siblings = [(first[0], key) for key in (first[0] if isinstance(first[0], dict) else range(len(first[0])))]
    second = pick.choice(siblings) if pick.random() < 0.6 else _value_of(pick, tree)
    a, b = first[0][first[1]], second[0][second[1]]
    if _within(a, second[0]) or _within(b, first[0]):
        return "nothing"
    first[0][first[1]], second[0][second[1]] = b, a
    return f"swap {first[1]} and {second[1]}"


def _within(tree: Tree, holder: Any) -> bool:
    return tree is holder or (
        isinstance(tree, dict | list)
        and any(_within(h[k], holder) for h, k in places(tree) if isinstance(h[k], dict | list))
    )


def drop(pick: random.Random, tree: Tree) -> str:
    holder, key = _value_of(pick, tree)
    del holder[key]
    return f"drop {key}"


def duplicate(pick: random.Random, tree: Tree) -> str:
    holder, key = _value_of(pick, tree)
    if isinstance(holder, list):
        holder.insert(pick.randrange(len(holder) + 1), _copied(holder[key]))
    else:
        holder[pick.choice((f"{key}2", f"{key}[1]", f"{key}[k in 1..2]", *NAMES))] = _copied(holder[key])
    return f"duplicate {key}"


def rename_here(pick: random.Random, tree: Tree) -> str:
    holder, key = _value_of(pick, tree)
    if not isinstance(holder, dict):
        return reorder(pick, tree)
    new = pick.choice((*NAMES, *NAMES, f"{key}[k in 1..2]", f"{key}[k in 0..3]", f"{key}[0]", *vocabulary, *TIMES))
    items = [(new if name == key else name, value) for name, value in holder.items()]
    holder.clear()
    holder.update(items)
    return f"rename {key} to {new}"


def rename_everywhere(pick: random.Random, tree: Tree) -> str:
    names = [
        k
        for s in ("data", "networks", "values", "losses", "params", "let", "parts")
        for k in (tree.get(s) or {})
        if isinstance(tree.get(s), dict)
    ]
    if not names:
        return "nothing"
    old = re.split(r"\W", pick.choice(names))[0]
    new = pick.choice(
        (
            *NAMES,
            *vocabulary,
            *TIMES,
            *(re.split(r"\W", name)[0] for name in names),
            "lr",
            "optimizer",
            "program",
            "update",
            "device",
        )
    )
    text = re.sub(rf"\b{old}\b", lambda _: new, json.dumps(_unraw(tree))) if old else json.dumps(_unraw(tree))
    _refill(tree, _reraw(json.loads(text)) if _is_json(text) else tree)
    return f"rename {old} to {new} everywhere"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
        return True
    except ValueError:
        return False


def _unraw(tree: Tree) -> Tree:
    if isinstance(tree, dict):
        return {key: _unraw(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_unraw(item) for item in tree]
    return f"\x01{tree}" if isinstance(tree, Raw) else str(tree)


def _reraw(tree: Tree) -> Tree:
    if isinstance(tree, dict):
        return {key: _reraw(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_reraw(item) for item in tree]
    return Raw(tree[1:]) if tree.startswith("\x01") else tree


def _refill(tree: Tree, other: Tree) -> None:
    if tree is not other:
        tree.clear()
        tree.update(other)


def reorder(pick: random.Random, tree: Tree) -> str:
    holder, key = _value_of(pick, tree)
    inside = holder[key]
    if isinstance(inside, list):
        pick.shuffle(inside)
    elif isinstance(inside, dict):
        items = list(inside.items())
        pick.shuffle(items)
        inside.clear()
        inside.update(items)
    return f"reorder {key}"


def transplant(pick: random.Random, tree: Tree) -> str:
    """What stands under this key elsewhere, or under any key."""
    holder, key = _value_of(pick, tree)
    others = pool().get(str(key)) if pick.random() < 0.7 else None
    holder[key] = _copied(pick.choice(others or pool()[""]))
    return f"transplant into {key}"


def reshape(pick: random.Random, tree: Tree) -> str:
    """A list where a mapping stood, a mapping where text stood."""
    holder, key = _value_of(pick, tree)
    value = holder[key]
    made: tuple[Tree, ...] = (
        [value],
        {"x": value},
        {"for k in 1..2": value},
        {"for k in 1..3": [value]},
        {},
        [],
        "",
        "none",
        "null",
        "~",
        Raw("[x, y]"),
        {"layers": str(value)[:80]},
        {"inputs": "x", "layers": pick.choice(CALLS)},
    )
    holder[key] = _copied(pick.choice(made))
    return f"reshape {key}"


def move(pick: random.Random, tree: Tree) -> str:
    """A definition in another section."""
    holder, key = _value_of(pick, tree)
    homes = [tree, *(h[k] for h, k in places(tree) if isinstance(h[k], dict))]
    home = pick.choice(homes)
    if _within(holder[key], home):
        return "nothing"
    home[str(key) if isinstance(holder, dict) else pick.choice(NAMES[:8])] = holder.pop(key)
    return f"move {key}"


def add(pick: random.Random, tree: Tree) -> str:
    """A new definition, of a kind that its section holds or of another."""
    section = pick.choice(
        (
            "params",
            "let",
            "data",
            "networks",
            "values",
            "losses",
            "train",
            "evaluate",
            "variants",
            "claims",
            "init",
            "parts",
            "outputs",
        )
    )
    inside = tree.setdefault(section, {})
    if not isinstance(inside, dict):
        return "nothing"
    known = pool().get(section) or [{}]
    other = pick.choice(known)
    name = pick.choice((*NAMES, "extra", "extra[k in 1..2]"))
    if isinstance(other, dict) and other and pick.random() < 0.7:
        name, value = pick.choice(list(other.items()))
    else:
        value = pick.choice(
            (pick.choice(SOURCES), pick.choice(CALLS), pick.choice(OPTIMIZERS), unparse(_fragment(pick)), _call(pick))
        )
    inside[name] = _copied(value)
    return f"add {section}.{name}"


def change_training(pick: random.Random, tree: Tree) -> str:
    """Another form of the updates, optimizers or phases."""
    train = tree.get("train")
    if not isinstance(train, dict):
        return change_expression(pick, tree)
    steps = train.get("step") if isinstance(train.get("step"), list) else []
    updates = [entry for entry in steps if isinstance(entry, dict)]
    groups = list(train["optimizers"]) if isinstance(train.get("optimizers"), dict) else ["g"]
    losses = list(tree["losses"]) if isinstance(tree.get("losses"), dict) else ["loss"]
    group, goal = pick.choice([*groups, "nobody"]), pick.choice([*losses, *losses, "mean(x)", "1"])
    several = {name: {"minimize": pick.choice(losses or ["x"])} for name in groups[: pick.randrange(1, 4)]}
    extras: tuple[tuple[str, Tree], ...] = (
        ("times", pick.choice(NUMBERS)),
        ("every", pick.choice(NUMBERS)),
        ("accumulate", pick.choice(NUMBERS)),
        ("draw", "all"),
        ("draw", pick.choice(("z", "x", "fake", Raw("[x, z]")))),
        (
            "when",
            pick.choice(
                (
                    f"{goal} > 0.5",
                    "step > 2",
                    f"running({goal}, decay=0.9) < 1",
                    f"hysteresis({goal}, low=0.3, high=0.7)",
                    goal,
                )
            ),
        ),
        (
            "then",
            pick.choice((f"clip({pick.choice(NAMES[:8])}, -1, 1)", "clip(D, 1, -1)", "max_norm(G, 1)", Raw("[]"), "x")),
        ),
        ("clip_grad_norm", pick.choice(NUMBERS)),
        ("clip_grad_value", pick.choice(NUMBERS)),
        ("unroll", {"update": group, "minimize": goal, "steps": pick.choice(("1", "2", "0", "-1", "10 ** 9", "k"))}),
        ("maximize", goal),
        ("minimize", goal),
        ("update", group),
        ("update", several),
    )
    match pick.randrange(7):
        case 0 | 1 if updates:
            for key, value in pick.sample(extras, k=pick.randrange(1, 3)):
                pick.choice(updates)[key] = value
        case 2:
            train["step"] = [
                *steps,
                {"update": group, pick.choice(("minimize", "maximize")): goal, **dict([pick.choice(extras)])},
            ]
        case 3 if updates:
            train["step"] = [{f"for k in {pick.choice(('1..2', '0..3', '[1, 2]', '1..0', 'k'))}": _copied(steps)}]
        case 4:
            phases = [_phase(pick, tree) for _ in range(pick.randrange(1, 4))]
            train["phases"] = pick.choice(
                (phases, [*(train.get("phases") or []), *phases] if isinstance(train.get("phases"), list) else phases)
            )
        case 5 if isinstance(train.get("optimizers"), dict):
            train["optimizers"][group] = pick.choice((*OPTIMIZERS, *(str(v) for v in train["optimizers"].values())))
        case _:
            key = pick.choice(("batch", "length", "save", "keep"))
            train[key] = pick.choice(
                (*NUMBERS, "3 steps", "1 epochs", "0 steps", "0.001 kimg", "2.5 steps", "10 ** 9 steps")
            )
    return "training"


def _phase(pick: random.Random, tree: Tree) -> Tree:
    params = list(tree["params"]) if isinstance(tree.get("params"), dict) else []
    phase: dict[str, Tree] = {"length": pick.choice(("2 steps", "1 steps", "1 epochs", "0 steps", "8 images"))}
    if params and pick.random() < 0.6:
        phase["set"] = {pick.choice(params): pick.choice(NUMBERS)}
    if pick.random() < 0.3:
        phase["carry"] = pick.choice(("optimizers", "nothing"))
    for section in ("losses", "values", "data", "networks"):
        inside = tree.get(section)
        if pick.random() < 0.2 and isinstance(inside, dict) and inside:
            phase[section] = {pick.choice(list(inside)): pick.choice((unparse(_fragment(pick)), "none", "0"))}
    return {f"for r in {pick.choice(('[8, 16]', '1..2', '1..1000'))}": phase} if pick.random() < 0.2 else phase


def change_evaluation(pick: random.Random, tree: Tree) -> str:
    """More to look at, and to measure."""
    evaluate = tree.setdefault("evaluate", {})
    if not isinstance(evaluate, dict):
        return "nothing"
    values = [*(tree.get("values") or {}), *(tree.get("data") or {}), "fake", "x"]
    value = pick.choice((*values, unparse(_fragment(pick))))
    metrics = list(vocabulary.of_kind("metric"))
    entries: tuple[tuple[str, Tree], ...] = (
        ("grid", Raw(f"[{value}]")),
        ("grid", {"a": Raw(f"[{value}]"), "b": Raw("[x]")}),
        ("grid", f"[{value} for k in 0..3]"),
        ("samplers", {"s": {pick.choice(("show", "frames")): Raw(f"[{value}]"), "samples": pick.choice(NUMBERS)}}),
        (
            "samplers",
            {pick.choice(NAMES): {"frames": f"[{value} for k in 1..3]", "rate": pick.choice(NUMBERS), "above": value}},
        ),
        ("metrics", {"m": pick.choice((f"mean({value})", f"{pick.choice(metrics)}({value}, x)", value))}),
        ("results", {"r": pick.choice((f"mean({value})", f"{pick.choice(metrics)}({value}, x)", _call(pick)))}),
        ("best", pick.choice(("max(m)", "min(m)", "m", "max(quality)", "max(1)"))),
        ("samples", pick.choice(NUMBERS)),
        ("result_samples", pick.choice(NUMBERS)),
        ("every", pick.choice(("1 steps", "0 steps", "1 epochs", *NUMBERS))),
        ("mode", pick.choice(("train", "eval", "both"))),
        ("data", {pick.choice(values): pick.choice(SOURCES)}),
        ("values", {pick.choice(values): unparse(_fragment(pick))}),
        (
            "networks",
            {
                "C": pick.choice(
                    (
                        "trained('gan', network='D')",
                        "trained('evaluators/recogniser', network='C', size=8)",
                        "trained('nothing', network='C')",
                        "trained('mutant.yaml', network='G')",
                        "trained(1)",
                    )
                )
            },
        ),
    )
    for key, new in pick.sample(entries, k=pick.randrange(1, 4)):
        old = evaluate.get(key)
        evaluate[key] = {**old, **new} if isinstance(old, dict) and isinstance(new, dict) else new
    return "evaluation"


def change_network(pick: random.Random, tree: Tree) -> str:
    """Another definition of one of the networks."""
    networks = tree.get("networks")
    if not isinstance(networks, dict) or not networks:
        return change_expression(pick, tree)
    name = pick.choice(list(networks))
    files, other = list(shipped("networks")), pick.choice(list(networks))
    chain = ", ".join(pick.choice((*CALLS, _call(pick))) for _ in range(pick.randrange(1, 6)))
    inputs = pick.choice(("x", Raw("[x, y]"), Raw("[x]"), "z", Raw("[]"), "step"))
    networks[name] = pick.choice(
        (
            f"{pick.choice(files)}()",
            f"{pick.choice(files)}({pick.choice(('filters', 'size', 'width', 'outputs'))}={pick.choice(NUMBERS)})",
            f"average({other}, decay={pick.choice(('0.9', '1', '-1', 'linear(0, 1)', 'x', '2'))})",
            f"{other}()",
            f"{other}(share={name}.layers)",
            {"inputs": inputs, "layers": chain},
            {"inputs": inputs, "layers": [chain, {"for k in 1..2": pick.choice(CALLS)}]},
            {
                "inputs": inputs,
                "layers": chain,
                "outputs": {"score": "layers(x)", "features": pick.choice(("x", "layers(x)", "mean(x)"))},
            },
            {
                "inputs": inputs,
                "parts": {"a": chain, "b[k in 1..2]": pick.choice(CALLS)},
                "values": {"h": "a(x)"},
                "output": pick.choice(("b[1](h)", "h", "a(h) + h")),
            },
            {
                "inputs": inputs,
                "layers": chain,
                "init": {
                    pick.choice(("all", "conv", "linear", "bias", "norm", "layers")): pick.choice(
                        ("normal(0.1)", "zeros", "orthogonal", "xavier_normal", "constant(1)", "nothing", "1")
                    )
                },
            },
        )
    )
    return f"network {name}"


MUTATIONS: tuple[tuple[Callable[[random.Random, Tree], str], int], ...] = (
    (change_expression, 20),
    (swap_values, 2),
    (drop, 1),
    (duplicate, 2),
    (rename_here, 2),
    (rename_everywhere, 3),
    (reorder, 1),
    (transplant, 2),
    (reshape, 1),
    (move, 1),
    (add, 3),
    (change_training, 5),
    (change_evaluation, 4),
    (change_network, 4),
)


def _copied(tree: Tree) -> Tree:
    if isinstance(tree, dict):
        return {key: _copied(value) for key, value in tree.items()}
    return [_copied(item) for item in tree] if isinstance(tree, list) else tree


def _mutate(pick: random.Random, tree: Tree, count: int) -> Iterator[str]:
    functions, weights = zip(*MUTATIONS, strict=True)
    for _ in range(count):
        function = pick.choices(functions, weights)[0]
        if tree:
            yield f"{function.__name__}: {function(pick, tree)}"


def _damaged(pick: random.Random, text: str) -> str:
    """Characters lost, put in or exchanged; lines moved, doubled or indented; the end cut off."""
    lines = text.split("\n")
    at, other = pick.randrange(len(lines)), pick.randrange(len(lines))
    match pick.randrange(10):
        case 8 | 9:
            return _tokens(pick, text)
        case 0:
            lines[at], lines[other] = lines[other], lines[at]
        case 1:
            lines.insert(other, lines[at])
        case 2:
            lines[at] = "  " * pick.randrange(4) + lines[at].lstrip()
        case 3:
            del lines[at]
        case 4:
            return text[: pick.randrange(len(text) + 1)]
        case _:
            start = pick.randrange(len(text) + 1)
            inside = pick.choice(CHARACTERS)
            return text[:start] + inside + text[start + pick.randrange(5) :]
    return "\n".join(lines)


def mutant(seed: int, *, to_run: bool = False) -> Mutant:
    """The mutant of a seed: a shipped spec, or network files that it calls, after one to four mutations."""
    pick = random.Random(seed)
    name = pick.choice(specs())
    tree = _copied(base(name, to_run))
    if pick.random() < 0.4:  # what speaks of variants, and repeats every problem for each of them
        for key in ("variants", "claims", "reported"):
            tree.pop(key, None)
    networks, said = {}, []
    if pick.random() < 0.35:
        called = [n for n in shipped("networks") if re.search(rf"\b{n}\(", emit(tree))] or list(shipped("networks"))
        file = pick.choice(called)
        inside = _copied(network(file))
        said += [f"{file}: {what}" for what in _mutate(pick, inside, pick.choice((1, 1, 2, 3)))]
        networks[file] = emit(inside)
        if not to_run and pick.random() < 0.1:
            networks[file] = _damaged(pick, networks[file])
    if not networks or (pick.random() < 0.3 and not to_run):
        said += _mutate(pick, tree, pick.choice((1, 1, 2) if to_run else (1, 1, 1, 2, 2, 3, 4)))
    text = emit(tree)
    if not to_run and pick.random() < 0.06:
        text = _damaged(pick, text)
        said.append("damage")
    variants = tree.get("variants")
    variant = pick.choice(list(variants)) if variants and isinstance(variants, dict) and pick.random() < 0.4 else None
    return Mutant(name, text, networks, variant, tuple(said))


if __name__ == "__main__":
    shown = mutant(int(sys.argv[1]), to_run=len(sys.argv) > 2)
    print("\n".join(f"# {step!r}" for step in shown.steps), f"# variant {shown.variant}", shown.text, sep="\n")
    for file, content in shown.networks.items():
        print(f"# networks/{file}.yaml", content, sep="\n")
