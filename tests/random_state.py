"""Random specs with state: networks of every layer that a call moves, called in every way that a spec has.

Each spec tells which features it has, so that a comparison can count them and show that none was left out.
"""

import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import gangraph
from gangraph.language.spec import Spec
from tests.support import read

FEATURES: Mapping[str, str] = {  # what has to occur, and how the text of a spec shows it
    "batch_norm": r"batch_norm\(eps=0.1[,)](?! track)",
    "batch_norm without statistics": "track=false",
    "spectral_norm": r"spectral_norm\(",
    "several power iterations": "iterations=2",
    "running_mean": r"running_mean\(",
    "weight_norm": r"weight_norm\(",
    "equalized": r"equalized\(",
    "minibatch_discrimination": r"minibatch_discrimination\(",
    "dropout": r"dropout\(",
    "gaussian_noise": r"gaussian_noise\(",
    "noise": r"\bnoise\b",
    "main and named outputs": r"D\(.*\)\.features",
    "named outputs alone": r"P\(.*\)\.[ab]\b",
    "family of networks": r"F\[1\]\(",
    "family of updates": r"for k in 1\.\.2:",
    "shared part": "share=",
    "function that draws": r"\bJ\((?!draw)",
    "function that draws once": r"\bO\(",
    "draw that is given": r"J\(.*, by=",
    "layers with several inputs": r"\bM\(",
    "average that copies": r"E: average.*copy",
    "average of buffers": r"E: average.*average",
    "average in an objective": r"(?m)^  (?!E:|A:).*\b[EA]\(",
    "state that nothing trains": r"\bT\((?!.*, lr=)",
    "gate on losses": r"when: (judge|\"hysteresis)",
    "gate of one group": r"minimize: judge, when:",
    "condition on time": "when: step",
    "every": "every: ",
    "times": r"times: \d\b(?! if)",
    "times that change": "times: 0 if",
    "accumulate": "accumulate: ",
    "draw": "draw: ",
    "simultaneous updates": r"update: \{",
    "unroll": "unroll: ",
    "history": r"history\(",
    "history of a history": r"history\(history",
    "at first": r"at_first\(",
    "again": r"again\(",
    "state that a loss reads": r"(?m)^  (?!s:|m:).*\bs\b",
    "state of the end of a step": r"s: \{start: 0, next: \"(?!.*at_first).*",
    "state as it was in an update": r"s: \{start: 0, next: \".*at_first",
    "state that is a tensor": r"m: \{start: \"zeros",
    "state that moves now and then": r"[sm]: .*(every|when): ",
    "detach": r"detach\(",
    "gradient as a value": r"grad\(",
    "parameters as a value": r"parameters\(",
    "parameters of a part": r"total\(parameters\(\w\.",
    "gradient with respect to parameters": r"parameters\(\w+(\.\w+)?\)\) \*\* 2",
    "gradient that is a number": r"detach\(total\(grad\(",
    "operation on parameters": r"then: ",
    "frozen network from elsewhere": r"\bQ\(",
    "network that is trained from elsewhere": r"\bW\(",
    "limited gradient": "clip_grad",
    "pairs of samples": r"einsum\(\"i c",
    "products of each sample": r"einsum\(\"b c",
    "shuffled batch": r"take\(",
    "choice by a comparison": r"where\(.* > 0",
    "largest of the batch": r"topk\(.*dim=0",
    "layer that moves samples": r"roll\(1, dim=0\)",
    "layer by a pattern": r"rearrange\(\"b n -> b n\"\)",
    "recurrent layers": r"lstm\(|gru\(",
    "spectra": r"stft\(",
    "momentum and moments": r"adam|momentum=0\.5\)",
    "variable": r"variables:",
    "variable that begins as data": "code: x",
    "several evaluations in a step": r"lbfgs\(",
    "steps ahead of its own groups": "gradient: false",
}

NETWORKS: Mapping[str, str] = {
    "G": "  G: {{inputs: z, parts: {{trunk: '{trunk}', head: linear(2)}}, values: {{h: trunk(z)}}, output: head(h)}}",
    "S": "  S: G(share=G.trunk)",
    "H": "  H: {{inputs: x, layers: '{h}, linear(2)'}}",
    "T": "  T: {{inputs: x, layers: '{t}'}}",
    "F": "  \"F[k in 1..2]\": {{inputs: x, layers: '{f}, linear(2)'}}",
    "D": "  D:\n    inputs: x\n    parts: {{body: '{d}', score: '{score}'}}\n    values: {{h: body(x)}}\n"
    "    output: score(h)\n    outputs: {{features: h}}",
    "P": "  P:\n    inputs: x\n    parts: {{body: '{p}', first: linear(2), second: '{second}'}}\n"
    "    values: {{h: body(x)}}\n    outputs: {{a: first(h), b: second(h)}}",
    "J": '  J: {{inputs: x, draw: {{by: "normal(2, std=0.1)", s: uniform(1)}}, output: (1 + s) * x + by}}',
    "O": '  O: J(draw="once")',
    "M": "  M:\n    inputs: [x, w]\n    parts: {{map: linear(4), mix: conditional_batch_norm(eps=0.1),"
    " look: '{look}', down: linear(2)}}\n    values: {{h: 'mix(map(x), w)', r: 'reshape(h, 2, 2)'}}\n"
    "    output: down(h + flatten(look(r, r, r)))",
    "E": '  E: average({averaged}, decay=0.9, buffers="{buffers}")',
    "A": "  A: average(D, decay=0.5)",
    "Q": '  Q: from_run("{run}", network="Q")',
    "W": '  W: from_run("{run}", network="W")',
}
ELSEWHERE = """
gangraph: 1
name: elsewhere
data: {x: normal(2)}
networks:
  Q: {inputs: x, layers: "spectral_norm(linear(3)), batch_norm(eps=0.1), tanh, dropout(0.5), linear(2)"}
  W: {inputs: x, layers: "spectral_norm(linear(3)), batch_norm(eps=0.1), tanh, linear(2)"}
losses: {near: "l2(Q(x), x) + l2(W(x), x)"}
train: {batch: 4, length: 3 steps, optimizers: {q: "sgd([Q, W], lr=0.1)"}, step: [{update: q, minimize: near}]}
"""
LOSSES: Mapping[str, tuple[str, str]] = {  # each loss, and the network that it is for
    "judge": ("D", "logistic.critic(real=D(x), fake=D({a})) + {term}"),
    "verdict": ("D", "hinge.critic(real=D({b}), fake=D({a})) + {term}"),
    "fool": ("G", "logistic.generator(D(fake)) + {term}"),
    "deceive": ("G", "l2(G({a}), x) + {term}"),
    "aux": ("H", "l2(H({a}), x) + {term}"),
    "pair": ("P", "l2(P(x).a, {b}) + mean(P({a}).b * P({a}).a) + {term}"),
    "steer": ("W", "l2(W({a}), x) + {term}"),
    "paint": ("V", "l2(G(code), {a}) + 0.1 * l2(code, x) + {term}"),
    "own[k in 1..2]": ("F", "l2(F[k]({a}), x) + 0.1 * mean(F[3 - k](x)) + {term}"),
}
TEXT = """
gangraph: 1
name: random
data: {{x: normal(2), z: normal(2), z2: normal(2)}}
networks:
{networks}
{variables}
values:
{values}
losses:
{losses}
{state}train:
  batch: 4
  length: 100 steps
  optimizers:
{optimizers}
  step:
{step}"""

INNER = (
    "batch_norm(eps=0.1)", "batch_norm(eps=0.1, track=false)", "running_mean(0.7)", "layer_norm(eps=0.1)", "noise",
    "dropout(0.5)", "gaussian_noise(0.1)", "batch_norm(eps=0.1, momentum=0.5), dropout(0.25)", "tanh",
    "roll(1, dim=0)", 'rearrange("b n -> b n")',
)  # fmt: skip
MAPS = (
    "linear(3)", "spectral_norm(linear(3))", "spectral_norm(linear(3), iterations=2)", "weight_norm(linear(3))",
    "equalized(linear(3))",
    "reshape(2, 1), lstm(3), last", "reshape(2, 1), gru(2, bidirectional=true), flatten",
    "spectral_norm(maxout(3, pieces=2))", "linear(3), minibatch_discrimination(2, 2)",
)  # fmt: skip
UNTRAINED = (
    "running_mean(0.5)", "batch_norm(eps=0.1)", "spectral_norm(linear(2))", "running_mean(0.7), dropout(0.5)",
    "batch_norm(eps=0.1, affine=false), tanh", "spectral_norm(linear(2), iterations=2), gaussian_noise(0.1)",
)  # fmt: skip


@cache
def elsewhere() -> Path:
    """A checkpoint with networks that other specs take from there."""
    trainer = gangraph.Trainer(read(ELSEWHERE), device="cpu", precision="fp64")
    trainer.train()
    return trainer.save(Path(mkdtemp(prefix="elsewhere-")) / "checkpoint")


@dataclass(frozen=True)
class Made:
    """A spec, its text and the features that it has."""

    spec: Spec
    text: str
    features: frozenset[str]


def make(seed: int) -> Made:
    """The spec of a seed.

    Raises:
        SpecError: an update of it does not reach what it trains, and the like.
    """
    text = _Maker(seed).text()
    return Made(read(text), text, frozenset(_features(text)))


def _features(text: str) -> Iterable[str]:
    return (name for name, pattern in FEATURES.items() if re.search(pattern, text))


class _Maker:
    """Pieces of a spec, each drawn from one generator of random numbers."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.pick = self.random.choice
        self.certain = self.one_in(2)  # whether every update surely runs, as held values ask for
        more = self.random.sample(["S", "H", "T", "F", "P", "E", "A", "J", "M", "V"], self.random.randint(2, 4))
        self.has = {"G", "D", *more, *(["O"] if "J" in more else [])}
        self.has |= {name for name in "QW" if random.Random(f"{seed} {name}").randrange(4) == 0}
        self.averaged = self.pick(sorted(self.has & {"G", "T", "H"}))
        self.values = ["x", "z", *["fake"] * 4, *["code"] * ("V" in self.has)]
        self.moves = self.one_in(3)  # whether there are states

    def one_in(self, count: int) -> bool:
        return self.random.randrange(count) == 0

    def text(self) -> str:
        """The whole spec."""
        values = ["  fake: G(z)"]
        self.values += ["(x + s)", "(fake - m)"] * self.moves
        for number in range(self.random.randint(1, 2)):
            values.append(f"  v{number}: {self.value()}")
            self.values += [f"v{number}"] * 2
        losses = {name: self.loss(name) for name, (network, _) in LOSSES.items() if network in self.has}
        step = "".join(self.update() for _ in range(self.random.randint(2, 4)))
        used = {name: loss for name, loss in losses.items() if name.partition("[")[0] in step or name == "judge"}
        layers = {name: self.layers() for name in ("h", "f", "p")}
        networks = "\n".join(NETWORKS[name] for name in NETWORKS if name in self.has).format(
            **layers, trunk=self.layers(mean=False), d=self.layers(mean=False), t=self.pick(UNTRAINED),
            score=self.pick(["linear(1)", "spectral_norm(linear(1))"]), averaged=self.averaged,
            run=elsewhere() if self.has & {*"QW"} else "",
            look=self.pick(["attention(heads=2)", "spectral_norm(attention)"]),
            second=self.pick(["linear(2)", "spectral_norm(linear(2))"]), buffers=self.pick(["copy", "average"]),
        )  # fmt: skip
        return TEXT.format(
            networks=networks,
            variables=f"variables: {{code: {self.pick(['normal(2)', 'x', 'lerp(x, z, 0.5)'])}}}" * ("V" in self.has),
            values="\n".join(values),
            losses="\n".join(f'  "{name}": {loss}' for name, loss in used.items()),
            optimizers="\n".join(self.optimizers()),
            step=step,
            state=self.state(),
        )

    def layers(self, *, mean: bool = True) -> str:
        """A chain for two numbers a sample, with at least one layer that a gradient changes."""
        inner = [each for each in INNER if mean or "running_mean" not in each]
        return ", ".join([self.pick(MAPS), *(self.pick(inner) for _ in range(self.random.randint(0, 1))), "tanh"])

    def value(self, deep: int = 2) -> str:
        """Two numbers a sample."""
        deep -= self.one_in(2)
        if deep <= 0:
            return self.pick(self.values)
        inside, other = self.value(deep - 1), self.value(deep - 1)
        forms = [f"{name}({inside})" for name in ("G", "S", "H", "T", "T", "E", "J", "J", "O") if name in self.has]
        forms += [f"F[1]({inside})", f"F[2]({inside})"] if "F" in self.has else []
        forms += [f"J({inside}, by={other})"] if "J" in self.has else []
        forms += [f"M({inside}, {other})"] * 2 if "M" in self.has else []
        forms += [f"P({inside}).a", f"P({inside}).b"] if "P" in self.has else []
        forms += [f"{name}({inside})" for name in ("Q", "Q", "W") if name in self.has]
        forms += [f"lerp({inside}, {other}, 0.5)", f"{inside} + {other}", f"lerp({inside}, {other}, uniform(1))"]
        forms += [f"detach({inside})", f"history({inside}, 6)"]
        if inside.startswith(("fake", "G(", "T(", "H(", "S(", "F[", "P(")):
            forms += [f"again({inside})"]
        forms += [f"take({inside}, argsort(uniform(), dim=0))", f"where({inside} > 0, {other}, 0.5 * {inside})"]
        if self.certain:
            forms += [f"at_first({inside})", f"history(at_first({inside}), 6)", f"history(history({inside}, 6), 6)"]
        return self.pick(forms)

    def loss(self, name: str) -> str:
        anchors = {each: self.value(1) for each in ("a", "b")}
        return LOSSES[name][1].format(**anchors, term=self.term())

    def term(self) -> str:
        """A small part of a loss."""
        value, other = self.value(), self.value()
        at = self.pick(self.values)
        from_at = self.pick([at, f"lerp({at}, {value}, 0.5)", f"{value} + {at}"])
        terms = [
            "0", f"0.1 * mean(D({value}))", f"0.1 * l2(D({value}).features, D({other}).features)",
            f"0.1 * mean(norm(grad(D({from_at}), {at})))", f"0.1 * mean(norm(grad(D({from_at}).features, {at})))",
            f"0.1 * l2({value}, {other})", f"0.1 * mean(D({value}).features * D({value}))",
            f'0.1 * mean(tanh(einsum("i c, j c -> i j", {value}, {other})))',
            f'0.1 * mean(einsum("b c, b c -> b", {value}, {other}))', f"0.1 * mean(topk(D({value}), 2, dim=0))",
            f"0.1 * l1(stft({value}, 2, 1), stft({other}, 2, 1))",
            "0.01 * total(parameters(D) ** 2)", "0.01 * total(parameters(D.score) ** 2)",
            f"0.1 * total(grad(mean(D({value})), parameters({self.pick(['D', 'D.body', 'G.trunk'])})) ** 2)",
            f"detach(total(grad(mean(D({value})), parameters(D.body)) ** 2)) * mean(D({other}))",
            f"0.1 * l2({value}, at_first({other}))" if self.certain else "0",
        ]  # fmt: skip
        if "A" in self.has:
            terms += [f"0.1 * mean(A({value}))", f"0.1 * l2(A({value}).features, D({value}).features)"] * 2
        if "P" in self.has:
            terms += [f"0.1 * mean(P({value}).a - P({other}).b)"]
        if "F" in self.has:
            terms += [f"0.1 * mean(norm(grad(F[1]({from_at}), {at})))"]
        return self.pick(terms)

    def state(self) -> str:
        """A number and a tensor that steps leave to the next, or nothing."""
        if not self.moves:
            return ""
        value, other = self.value(), self.value()
        first = f"at_first({value})" if self.certain else value
        rules = [f"mean({value})", f"mean(D({other}))", f"mean(again(D(fake)) + {value})", f"mean({first} + 0.1 * m)"]
        often = [self.pick(["", "", ", every: 2", ", when: step > 1"]) for _ in range(2)]
        return (
            f'state:\n  s: {{start: 0, next: "clamp(lerp(s, {self.pick(rules)}, 0.5), -1, 1)"{often[0]}}}\n'
            f'  m: {{start: "zeros(1, 2)", next: "lerp(m, clamp(batch_mean({other}), -1, 1), 0.2)"{often[1]}}}\n'
        )

    def optimizers(self) -> Iterable[str]:
        networks = {"d": "D", "g": "G", "h": "H", "p": "P", "w": "W", "f[k in 1..2]": "F[k]"}
        for group, network in networks.items():
            if network[0] in self.has:
                chosen = "[G, S]" if network == "G" and "S" in self.has and self.one_in(2) else network
                options = self.pick(["lr=0.05)", "lr=0.02, momentum=0.5)", ""])
                made = f"sgd({chosen}, {options}" if options else f"adam({chosen}, lr=1e-2, eps=1e-2)"
                yield f'    "{group}": {made}'
        if "V" in self.has:
            yield f"    v: {self.pick(['adam(code, lr=0.05)', 'lbfgs(code, lr=0.05, max_iter=2)'])}"

    def update(self) -> str:
        """One entry of the step."""
        if "F" in self.has and self.one_in(3):
            return f'    - for k in 1..2:\n        - {{update: "f[k]", minimize: "own[k]"{self.options()}}}\n'
        if self.one_in(6):
            gate = self.pick(["", "", ", when: judge > 1.3", ", when: step > 1"])
            both = f"{{d: {{minimize: judge{gate}}}, g: {{minimize: {self.pick(['fool', 'deceive'])}}}}}"
            ahead = f", unroll: {{steps: {self.random.randint(1, 2)}, gradient: false}}" * self.one_in(2)
            return f"    - {{update: {both}{ahead}{self.options()}}}\n"
        losses = [(network.lower(), name) for name, (network, _) in LOSSES.items() if network in self.has - {"F"}]
        group, loss = self.pick(losses)
        inner, down = self.pick([pair for pair in losses if pair[0] != group])
        tied = inner == "g" and "S" in self.has  # which has no steps to look ahead of
        ahead = self.one_in(5) and not tied
        steps = f", unroll: {{update: {inner}, minimize: {down}, steps: {self.random.randint(1, 2)}}}" if ahead else ""
        return f"    - {{update: {group}, minimize: {loss}{steps}{self.options()}}}\n"

    def options(self) -> str:
        """How often an update runs, on which draws, and what limits it."""
        chosen = self.pick([", draw: all", ", draw: z", ", draw: x", ", draw: [z, z2]"]) if self.one_in(4) else ""
        often = ["", *[""] * 7, ", times: 2", ", accumulate: 2", ', when: "hysteresis(judge, low=1, high=1.5)"']
        if not self.certain:
            often += [", times: 0 if step == 1 else 2", ", every: 2", ", when: step != 1", ", when: judge > 1.3"]
        chosen += self.pick(often)
        limits = [", clip_grad_norm: 1", ', then: "clip(D, -1, 1)"', ", clip_grad_value: 0.5"]
        return chosen + (self.pick(limits) if self.one_in(6) else "")
