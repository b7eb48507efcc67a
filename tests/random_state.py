"""Random specs with state: networks of every layer that a call moves, called in every way that a spec has.

Each spec tells which features it has, so that a comparison can count them and show that none was left out.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gangraph.errors import SpecError
from gangraph.language.document.parse import Choice, parse_text
from gangraph.language.resolve.document import resolve
from gangraph.language.spec import Spec
from tests.random_pieces import FEATURES, LOSSES, MIXES, NETWORKS, OPTIMIZERS, START, TEXT, UNTRAINED, files
from tests.random_values import Values

LET = """let:
  "share[i in 1..2][k in 1..i]": 1 / (i + k)
  ahead: judge > 1.3
"""
EVALUATE = """
evaluate:
  mode: {mode}
  samples: {samples}
  result_samples: 8
  grid: [{columns}]
  metrics: {{far: "mean(abs(v0))", near: "sliced_wasserstein(fake, v0)"}}
  results: {{{results}}}
  samplers:
    walk: {{frames: "[reshape(tanh(G(lerp(z, z2, k / 2))), 1, 1, 2) for k in 0..2]"}}"""
PHASES = """  phases:
    - length: {steps} steps
    - length: 100 steps
      losses:
        "judge": {judge}
"""
OVER = """gangraph: 1
base: {base}
name: random
values:
  v0: {value}
losses:
  "judge": {judge}
"""


@dataclass(frozen=True)
class Made:
    """A spec, its text and the features that it has; `given` says whether chances within its steps are to be given.

    `whole` is the text of the same spec without a base.
    """

    spec: Spec
    text: str
    whole: str
    features: frozenset[str]

    @property
    def given(self) -> bool:
        return "given chances" in self.features


def make(seed: int) -> Made:
    """The spec of a seed.

    Raises:
        SpecError: an update of it does not reach what it trains, and the like.
    """
    text, whole = write(seed)
    return Made(read_beside(text), text, whole, frozenset(features_of(f"{text}\n{whole}")))


def require_unforeseen(error: SpecError) -> None:
    """Pass over a random spec whose parts do not go together, and none whose words have no meaning. Raises the error.

    Codes below GG400 are of words; those above are of rules over several parts, which no part of a random spec knows.
    """
    if any(problem.code < "GG400" for problem in error.problems):
        raise error


def write(seed: int) -> tuple[str, str]:
    """The text of a seed, which may be laid over another one beside it, and that of the same spec in full."""
    maker = _Maker(seed)
    whole = maker.text()
    return maker.over(whole, f"below-{seed}.yaml") if maker.based else whole, whole


def read_beside(text: str) -> Spec:
    """The spec of a text whose files lie where those of random specs do."""
    return resolve(parse_text(text, origin=files()), Choice())


def features_of(text: str) -> Iterable[str]:
    """The features that a text shows."""
    return (name for name, pattern in FEATURES.items() if re.search(pattern, text))


class _Maker(Values):
    """A whole spec, each piece drawn from one generator of random numbers."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.based, self.profiled, self.given = self.one_in(8), self.one_in(8), self.one_in(5)
        self.phased, self.evaluated = self.one_in(8), self.one_in(6)

    def text(self) -> str:
        """The whole spec."""
        values = [*self.named()]
        losses = {name: self.loss(name) for name, (network, _) in LOSSES.items() if network in self.has}
        step = "".join(self.update() for _ in range(self.random.randint(2, 4)))
        used = {name: loss for name, loss in losses.items() if name.partition("[")[0] in step or name == "judge"}
        variable = f"variables:\n  code: {self.pick(['normal(2)', 'x', 'lerp(x, z, 0.5)'])}\n  shift: [0.1, -0.2]"
        made = TEXT.format(
            let="default_profile: quick\n" * self.profiled + LET,
            x=self.pick(["normal(2)"] * 3 + ["plane(std=0.3, count=30)", "fixed(normal(2))", "fixed(plane(count=30))"]),
            files=files(),
            networks=self.networks(),
            variables=variable if "V" in self.has else "",
            start=self.start(),
            values="\n".join(values),
            losses="\n".join(f'  "{name}": {loss}' for name, loss in used.items()),
            state=self.state(),
            length=self.length(),
            optimizers="\n".join(self.optimizers()),
            step=step,
            evaluate=self.evaluation() * self.evaluated,
            profiles=f"\nprofiles:\n  quick:\n    values:\n      v0: 0.5 * {self.pick(['fake', 'x', 'G(x)'])}"
            * self.profiled,
        )
        return made + "\n# half of what happens by chance is given" * self.given

    def networks(self) -> str:
        """The section of networks."""
        layers: Mapping[str, str] = {
            **{name: self.layers() for name in "hfpku"},
            **{name: self.layers(mean=False) for name in ("trunk", "d")},
            "b": self.pick(["linear(3), batch_norm(eps=0.1), tanh", "spectral_norm(linear(3)), tanh"]),
            "c": self.pick(["tanh", "dropout(0.5), tanh"]),
            "t": self.pick(UNTRAINED),
            "score": self.pick(["linear(1)", "spectral_norm(linear(1))"]),
            "second": self.pick(["linear(2)", "spectral_norm(linear(2))"]),
            "look": self.pick(["attention(heads=2)", "spectral_norm(attention)", "equalized(attention)"]),
            "mix": self.pick(MIXES),
            "noise": self.pick(["", "noise, ", "dropout(0.5), "]),
            "reader": self.pick(["gru(2)", "lstm(2)"]),
            "augment": self.pick(["translation=0.5", "colour=false", 'draw="once"']),
            "ada": self.pick(["geometry=0", "geometry=0, colours=0", "colours=0, cutout=0"]),
            "averaged": self.pick(sorted(self.has & {"G", "T", "H"})),
            "decay": self.pick(["0.9", "step / (step + 1)"]),
            "buffers": self.pick(["copy", "average"]),
            "frozen": self.pick(["Q", "QE"]),
            "start": START,
            "files": str(files()),
        }
        return "\n".join(written.format(**layers) for name, written in NETWORKS.items() if name in self.has)

    def start(self) -> str:
        """What networks begin as, where that is known from elsewhere."""
        run = f'from_run("{files()}/run"'
        forms = [
            f'start:\n  N: {run}, network="W")\n',
            'start:\n  N: file("run/tensors.safetensors", names="names.yaml")\n',
        ]
        return self.pick([*forms, f"start: {run})\n"]) if "N" in self.has else ""

    def length(self) -> str:
        """How long training lasts, in one phase or two."""
        if not self.phased:
            return "  length: 100 steps\n"
        more = "      carry: optimizers\n" * self.one_in(2)
        more += "      batch: 6\n" * (self.one_in(2) and "V" not in self.has)
        more += "      state:\n        m: {every: 3}\n" * (self.one_in(2) and self.moves)
        return PHASES.format(steps=self.random.randint(3, 12), judge=self.loss("judge")) + more

    def evaluation(self) -> str:
        """What is evaluated: values, and what networks make of states and variables, with dropout or without."""
        columns, results = ["fake", "v0"], ['apart: "mean(abs(v0 - x))"']
        if self.moves:
            results += [f'alone: "total({self.pick(sorted(self.has & set("GHKTY")))}(m))"']
            results += ['beside: "s * mean(D(fake + m)) + mean(q[1] * fake)"']
        if "V" in self.has:
            columns += ["code", "V(code)"]
            results += ['variable: "mean(V(code) - x) + total(shift)"']
        return EVALUATE.format(
            mode=self.pick(["eval", "train"]),
            samples=4 if "V" in self.has else self.pick([4, 7]),
            columns=", ".join(columns),
            results=", ".join(results),
        )

    def over(self, whole: str, base: str) -> str:
        """The same spec, laid over one that is written to a file beside it and has another value and another loss."""
        told = {name: re.search(f"(?m)^  {name}: (.*)$", whole) for name in ("v0", '"judge"')}
        value, judge = (found[1] for found in told.values() if found is not None)
        below = whole.replace("name: random", "name: below").replace(f"  v0: {value}\n", "  v0: fake\n")
        below = below.replace(f'\n  "judge": {judge}\n', '\n  "judge": mean(D(x)) - mean(D(fake))\n')
        (files() / base).write_text(below)
        return OVER.format(base=base, value=value, judge=judge) + "\n".join(re.findall("# half of.*", whole))

    def optimizers(self) -> Iterator[str]:
        groups = {name.lower(): name for name in "GDBHPWRCLKNY"} | {"f[k in 1..2]": "F[k]"}
        for group, network in (groups | {"u[i in 1..2][k in 1..i]": "U[i][k]"}).items():
            if network[0] in self.has:
                kind, options = self.pick(OPTIMIZERS)
                yield f'    "{group}": {kind}({self.pick(self._entries(network))}, {options})'
        if "V" in self.has:
            both = ["adam([code, V.first(lr=0.01), V.last], lr=0.05, eps=1e-2)", "sgd([code, V.first, shift], lr=0.05)"]
            yield f"    v: {self.pick(['adam(code, lr=0.05)', 'lbfgs(code, lr=0.05, max_iter=2)', *both])}"

    def _entries(self, network: str) -> list[str]:
        """What a group for a network may consist of."""
        if network == "B":
            return ["[B[i] for i in 1..2]"]
        forms = {
            "G": ["[G.head(lr=0.02), G]", *["[G, S]"] * 2 * ("S" in self.has)],
            "D": ["[D.score(lr=linear(0.05, 0.01)), D]", "[D.body, D.score(lr=0.02)]", "[D.body, D.score]"],
            "P": ["[P.first(lr=0.02), P]"],
        }
        return [network, network, *forms.get(network, [])]

    def update(self) -> str:
        """One entry of the step."""
        if "F" in self.has and self.one_in(3):
            at_once = '    - {update: {"f[k in 1..2]": {minimize: "own[k]"}}%s}\n'
            return (
                at_once
                if self.one_in(3)
                else '    - for k in 1..2:\n        - {update: "f[k]", minimize: "own[k]"%s}\n'
            ) % self.options()
        if "U" in self.has and self.one_in(3):
            inner = '        - for k in 1..i:\n            - {update: "u[i][k]", minimize: "each[i][k]"%s}\n'
            return "    - for i in 1..2:\n" + inner % self.options()
        if self.one_in(6):
            return self._at_once()
        losses = [(network.lower(), name) for name, (network, _) in LOSSES.items() if network in self.has - {"F", "U"}]
        group, loss = self.pick(losses)
        inner, down = self.pick([pair for pair in losses if pair[0] != group and pair[1] != "gain"])
        tied = inner == "g" and "S" in self.has  # which has no steps to look ahead of
        steps = f", unroll: {{update: {inner}, minimize: {down}, steps: {self.random.randint(1, 2)}}}"
        goal = "maximize" if loss == "gain" else "minimize"
        return f"    - {{update: {group}, {goal}: {loss}{steps * (self.one_in(5) and not tied)}{self.options()}}}\n"

    def _at_once(self) -> str:
        """Both players of a game in one update."""
        gate = self.pick(["", "", ", when: judge > 1.3", ", when: step > 1"])
        down = ", unroll: {update: d, minimize: judge, steps: 1}" * self.one_in(3)
        plain = not down and "judge" not in gate
        both = f"{{d: {{minimize: judge{gate}}}, g: {{minimize: {self.pick(['fool', 'deceive'])}{down}}}}}"
        ahead = f", unroll: {{steps: {self.random.randint(1, 2)}, gradient: false}}" * (self.one_in(2) and plain)
        return f"    - {{update: {both}{ahead}{self.options()}}}\n"

    def options(self) -> str:
        """How often an update runs, on which draws, and what limits it."""
        draws = [", draw: all", ", draw: z", ", draw: x", ", draw: [z, z2]", ", draw: row"]
        chosen = self.pick(draws) if self.one_in(4) else ""
        often = ["", *[""] * 7, ", times: 2", ", accumulate: 2", ', when: "hysteresis(judge, low=1, high=1.5)"']
        if not self.certain:
            often += [", times: 0 if step == 1 else 2", ", every: 2", ", when: step != 1", ", when: judge > 1.3"]
            often += [", when: not ahead", ', when: "running(judge, decay=0.8) < 1.5"']
        chosen += self.pick(often)
        limits = [", clip_grad_norm: 1", ', then: "clip(D, -1, 1)"', ", clip_grad_value: 0.5"]
        limits += [', then: ["clip(D, -1, 1)", "max_norm(G, 2)"]', ', clip_grad_norm: "linear(1, 0.5)"']
        return chosen + (self.pick(limits) if self.one_in(6) else "")
