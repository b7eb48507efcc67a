"""Networks from elsewhere: those that another spec trains, those of a run, and the weights that a run begins with."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from gangraph.errors import CheckpointError, RunError, Span, SpecError, UsageError, called_by, give_up, nearest, refuse
from gangraph.language.document.library import UnreadableError, pretrained
from gangraph.language.document.saved import choice_of, document_of
from gangraph.language.document.sections import Sections
from gangraph.language.expression import model as ast
from gangraph.language.expression.constants import constant
from gangraph.language.expression.model import Expression
from gangraph.language.expression.static import Scope
from gangraph.language.resolve.evaluators import Resolve, resolve_trained
from gangraph.language.resolve.names_table import Table, names_table
from gangraph.language.spec import (
    AverageSpec,
    FileWeights,
    NetworkSpec,
    PhaseSpec,
    PretrainedWeights,
    RunWeights,
    Spec,
    Weights,
)
from gangraph.saved.files import known_digest
from gangraph.saved.find_checkpoint import find_checkpoint
from gangraph.saved.state import State, read_state

Networks = Mapping[str, NetworkSpec | AverageSpec]

FORMS = ("trained", "from_run", "pretrained")  # the calls that name a network from elsewhere
_DEEPEST = 4  # specs that lead to each other
_PRETRAINED = 'pretrained("vgg19"), or with outputs=["relu2_2"] for some of its layers, and params of the network'
_RUN = 'from_run("runs/NAME", network="G"), or with step=1000 for one of its checkpoints'
_START = f'{_RUN}, or file("weights.safetensors", names="names.yaml")'


class Elsewhere:
    """Reads what a phase takes from elsewhere. `resolve` makes a spec of a document that trains such a network."""

    def __init__(self, sections: Sections, resolve: Resolve) -> None:
        self.sections, self.resolve = sections, resolve

    def network(self, call: ast.Call) -> NetworkSpec:
        """The network that a call names, with the weights that it begins with. Raises SpecError."""
        if self.sections.files.depth >= _DEEPEST:
            refuse("GG229", "specs take networks from each other too many levels deep", call.span, ast.unparse(call))
        if ast.unparse(call.function) == "trained":
            evaluator = resolve_trained(self.sections, self.resolve, call)
            if broken := [each for each in evaluator.spec.problems if each.severity == "error"]:
                raise SpecError(called_by(each, evaluator.network, call.span) for each in broken)
            return _taken(evaluator.spec.phases[-1].networks, evaluator.network, evaluator, call)
        weights = self._of_run(call, _RUN)
        if not weights.network:
            _refuse_miswritten(call, _RUN)
        return _taken(self._phase_of(weights).networks, weights.network, weights, call)

    def start(self, networks: Networks) -> dict[str, RunWeights | FileWeights]:
        """The weights that a run begins with, by network; under "" the run that gives those of the same names."""
        written = self.sections.model.start
        if written is None:
            return {}
        if not isinstance(written, dict):
            every = self.sections.guarded("start", self._every, written)
            return {"": every} if every is not None else {}
        found: dict[str, RunWeights | FileWeights] = {}
        for key, body in written.items():
            for name, scope in self.sections.guarded(key, self.sections.expand, key, self.sections.scope) or []:
                weights = self.sections.guarded("start", self._named, name, key.span, body, scope, networks)
                if weights is not None:
                    found[name] = weights
        return found

    def _every(self, written: Expression) -> RunWeights:
        call = self.sections.scope.reduce(written)
        weights = self._start(call)
        if isinstance(weights, FileWeights) or weights.network:
            usage = 'from_run("runs/NAME") for all networks by name, or a mapping of networks'
            refuse("GG236", "these weights are for one network", call.span, ast.unparse(call), usage)
        return weights

    def _named(
        self, name: str, span: Span, body: Expression, scope: Scope, networks: Networks
    ) -> RunWeights | FileWeights | None:
        """The weights that one network begins with; None if an overlay removes them by `none`."""
        call = scope.reduce(body)
        if isinstance(call, ast.Literal) and call.value is None:
            return None
        if name in self.sections.broken:
            give_up()
        made = networks.get(name)
        if made is None:
            known = [*networks]
            refuse("GG236", f"no network '{name}' begins this run", span, name, "one of " + ", ".join(known),
                   nearest(name, known))  # fmt: skip
        if isinstance(made, NetworkSpec) and made.weights is not None:
            refuse("GG236", f"'{name}' has weights from elsewhere already", span, name, "weights in one of both places")
        weights = self._start(call)
        return replace(weights, network=weights.network or name) if isinstance(weights, RunWeights) else weights

    def _start(self, call: Expression) -> RunWeights | FileWeights:
        if not isinstance(call, ast.Call) or ast.unparse(call.function) not in ("from_run", "file"):
            _refuse_miswritten(call, _START)
        return self._of_run(call, _START) if ast.unparse(call.function) == "from_run" else self._of_file(call)

    # Runs

    def _of_run(self, call: ast.Call, usage: str) -> RunWeights:
        """The weights that `from_run(...)` means. Raises SpecError."""
        text, keywords = ast.unparse(call), {key: constant(value) for key, value in call.keywords}
        network, step = keywords.pop("network", ""), keywords.pop("step", None)
        run = constant(call.arguments[0]) if len(call.arguments) == 1 else None
        whole = isinstance(step, int | None) and not isinstance(step, bool)
        if keywords or not isinstance(run, str) or not isinstance(network, str) or not whole:
            _refuse_miswritten(call, usage)
        found = self.sections.files.found
        if found is not None and text in found:
            return RunWeights(
                written=text, network=network, checkpoint=found[text].path, digest=found[text].digest, span=call.span
            )
        try:
            checkpoint = find_checkpoint(run, None if step is None else str(step))
            digest = read_state(checkpoint).digest or ""
        except (UsageError, RunError) as error:
            _refuse_run(call.arguments[0].span, run, str(error))
        return RunWeights(
            written=text, network=network, checkpoint=str(checkpoint.resolve()), digest=digest, span=call.span
        )

    def _phase_of(self, weights: RunWeights) -> PhaseSpec:
        """The phase in which a checkpoint was saved, as its run trains it. Raises SpecError."""
        try:
            state = read_state(Path(weights.checkpoint))
            return self._trained(state).phases[state.trained.phase]
        except SpecError as error:
            raise SpecError(called_by(each, weights.network, weights.span) for each in error.problems) from None
        except (CheckpointError, IndexError) as error:
            return _refuse_run(weights.span, weights.checkpoint, str(error))

    def _trained(self, state: State) -> Spec:
        document = document_of(state.trained)
        files = replace(document.files, depth=self.sections.files.depth + 1)
        spec = self.resolve(replace(document, files=files), choice_of(state.trained))
        if broken := [each for each in spec.problems if each.severity == "error"]:
            raise SpecError(broken)
        return spec

    # Files

    def _of_file(self, call: ast.Call) -> FileWeights:
        """The weights that `file(...)` means. Raises SpecError."""
        keywords = dict(call.keywords)
        given = [constant(value) for value in (*call.arguments, *keywords.values())]
        if len(call.arguments) != 1 or not keywords.keys() <= {"names"} or not all(isinstance(g, str) for g in given):
            _refuse_miswritten(call, _START)
        path, *tables = map(str, given)
        folder = self.sections.files.folder or Path()
        text, found = ast.unparse(call), self.sections.files.found
        if found is not None:  # its weights were taken over when the run began
            known = found.get(text)
            own, digest = (known.path, known.digest) if known is not None else (str(folder / path), "")
            return FileWeights(written=text, path=own, digest=digest, span=call.span)
        try:
            names = names_table(folder / tables[0]) if tables else ()
        except UnreadableError as error:
            refuse(
                "GG450",
                "the table of names cannot be read as one",
                keywords["names"].span,
                found=tables[0],
                expected="a YAML file of lines `our name: its name`",
                reason=error.reason,
            )
        if not (folder / path).is_file():
            refuse("GG235", "there is no such file of weights", call.arguments[0].span, path, f"a file in {folder}")
        digest = _digest(folder / path, names, call.arguments[0].span)
        return FileWeights(written=text, path=str(folder / path), names=names, digest=digest, span=call.span)


def _digest(path: Path, names: Table, span: Span) -> str:
    """The digest of a file of weights and of what its tensors are called. Raises SpecError."""
    try:
        own = known_digest(path)
    except OSError as error:
        refuse("GG235", "the file of weights cannot be read", span, str(path), "a file", reason=error.strerror or "")
    return hashlib.blake2b(json.dumps([own, names]).encode()).hexdigest() if names else own


def pretrained_weights(call: ast.Call) -> tuple[PretrainedWeights, tuple[str, ...] | None]:
    """What `pretrained(...)` means: the weights, and the outputs that it names, if it names any. Raises SpecError.

    Its other keywords set params of the network.
    """
    name = constant(call.arguments[0]) if len(call.arguments) == 1 else None
    outputs, known = next((constant(value) for key, value in call.keywords if key == "outputs"), None), pretrained()
    listed = outputs if isinstance(outputs, tuple) else None if outputs is None else (None,)
    if not isinstance(name, str) or not all(isinstance(each, str) for each in listed or ()):
        _refuse_miswritten(call, _PRETRAINED)
    if name not in known:
        there = "one of " + ", ".join(known)
        refuse("GG234", f"there is no pretrained network '{name}'", call.span, name, there, nearest(name, known))
    weights = PretrainedWeights(written=ast.unparse(call), name=name, names=names_table(known[name]), span=call.span)
    return weights, None if listed is None else tuple(map(str, listed))


def with_frozen(phases: Iterable[PhaseSpec]) -> list[PhaseSpec]:
    """The phases with every network from elsewhere frozen that no optimizer of any of them names."""
    phases = list(phases)
    trained = {name for phase in phases for group in phase.optimizers.values() for name, _ in group.networks}

    def marked(name: str, made: NetworkSpec | AverageSpec) -> NetworkSpec | AverageSpec:
        if isinstance(made, AverageSpec) or made.weights is None or name in trained:
            return made
        return replace(made, frozen=True)

    return [replace(each, networks={n: marked(n, made) for n, made in each.networks.items()}) for each in phases]


def _taken(networks: Networks, name: str, weights: Weights, call: ast.Call) -> NetworkSpec:
    """A network of another spec with its weights; an average has the layers of the network that it averages."""
    made = networks.get(name)
    layers = networks.get(made.of) if isinstance(made, AverageSpec) else made
    if not isinstance(layers, NetworkSpec):
        refuse(
            "GG235",
            f"the run has no network '{name}'",
            call.span,
            found=name,
            expected="one of " + ", ".join(networks),
            fix=nearest(name, networks),
        )
    if layers.frozen and layers.weights is not None and layers is made:
        weights = layers.weights  # a run that trained nothing of it keeps nothing of it
    return replace(layers, weights=weights, frozen=False, shares=(), file=None, span=call.span)


def _refuse_miswritten(written: Expression, usage: str) -> NoReturn:
    found = " ".join(written.span.characters.split())  # as it stands there: it may be a path, and no division
    place = re.fullmatch(r"[\w.~-]*(/[\w.~-]+)+", found)
    fix = f'from_run("{found}")' if place and usage == _START else ""
    refuse("GG234", "weights from elsewhere are not written like this", written.span, found, usage, fix)


def _refuse_run(span: Span, found: str, why: str) -> NoReturn:
    expected = "the folder of a run that has a checkpoint, seen from where gangraph is called"
    refuse("GG235", "this names no weights of a run", span, found, expected, reason=why)
