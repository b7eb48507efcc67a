"""Values, losses and states of random specs: expressions over whatever a spec has, drawn from one generator."""

import random
from collections.abc import Iterable, Iterator

from tests.random_pieces import INNER, LOSSES, MAPS

MORE = "ABCEFHJKLMNPRSTUVXYZ"  # networks that a spec may have beside G and D; V has variables
NEEDS = {"J": "O", "X": "Y", "Z": "Y"}  # what comes with a network


class Values:
    """The networks that a spec has, and expressions that call them."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.pick = self.random.choice
        self.certain = self.one_in(2)  # whether every update surely runs, as held values ask for
        more = {*self.random.sample(MORE, self.random.randint(2, 4)), *(name for name in "QW" if self.one_in(4))}
        self.has = {"G", "D", *more, *(NEEDS[name] for name in more & NEEDS.keys())}
        self.moves = self.one_in(3)  # whether there are states
        self.values = ["x", "z", *["fake"] * 4, *["code", "code", "(fake + shift)"] * ("V" in self.has)]
        self.values += ["flatten(last(told[2]))"] * ("C" in self.has) + ["L(words, y)"] * ("L" in self.has)
        self.values += ["rows"] * self.one_in(4)

    def one_in(self, count: int) -> bool:
        return self.random.randrange(count) == 0

    def layers(self, *, mean: bool = True) -> str:
        """A chain for two numbers a sample, with at least one layer that a gradient changes."""
        inner = [each for each in INNER if mean or "running_mean" not in each]
        return ", ".join([self.pick(MAPS), *(self.pick(inner) for _ in range(self.random.randint(0, 1))), "tanh"])

    def named(self) -> Iterator[str]:
        """The section of values; what stands later may use what stands before."""
        yield "  fake: G(z)"
        yield "  rows: cat(reshape(row.age, 1), reshape(row.size, 1))"
        yield "  often: linear(0.2, 0.8)"
        if "C" in self.has:
            yield '  clip: rearrange(film, "c t h w -> t c h w")'
            yield '  "told[0]": clip'
            yield '  "told[k in 1..2]": cat(told[k-1], reshape(last(C(told[k-1])), 1, 1, 1, 2), dim=1)'
        self.values += ["(x + s)", "(fake - m)", "(fake + q[1] * q[2])"] * self.moves
        for number in range(self.random.randint(1, 2)):
            yield f"  v{number}: {self.value()}"
            self.values += [f"v{number}"] * 2
        if self.one_in(3):
            yield f'  "w[i in 1..2][k in 1..i]": lerp({self.value(1)}, {self.value(1)}, k / (i + k))'
            self.values += ["w[1][1]", "w[2][2]", "(w[2][1] + w[1][1])"]

    def value(self, deep: int = 2) -> str:
        """Two numbers a sample."""
        deep -= self.one_in(2)
        if deep <= 0:
            return self.pick(self.values)
        inside, other = self.value(deep - 1), self.value(deep - 1)
        forms = [*self._calls(inside, other), *self._calls(inside, other), *self._ops(inside, other)]
        forms += [f"detach({inside})", f"history({inside}, 6)"]
        if inside.startswith(("fake", "G(", "T(", "H(", "S(", "F[", "P(", "R(", "U[")):
            forms += [f"again({inside})"] * 2
        if self.certain:
            forms += [f"at_first({inside})", f"history(at_first({inside}), 6)", f"history(history({inside}, 6), 6)"]
        return self.pick(forms)

    def _calls(self, inside: str, other: str) -> Iterator[str]:
        """Calls of networks that give two numbers."""
        yield from (f"{name}({inside})" for name in "GSHTEJOVNQW" if name in self.has)
        yield from self._several(inside, other)
        if "F" in self.has:
            yield f"F[{self.random.randint(1, 2)}]({inside})"
        if "U" in self.has:
            yield f"U[2][{self.random.randint(1, 2)}]({inside})"
        if "J" in self.has:
            yield f"J({inside}, by={other})"
        if "P" in self.has:
            yield f"P({inside}).{self.pick('ab')}"

    def _several(self, inside: str, other: str) -> Iterator[str]:
        """Calls with several inputs, and those of images and clips."""
        if "M" in self.has:
            yield f"M({inside}, {other})"
        if "R" in self.has:
            yield f"R({inside}, {other}, {self.pick(['y', 'y', 'row.kind'])})"
        if "C" in self.has:
            yield f"flatten(last(C(reshape(stack({inside}, {other}), 2, 1, 1, 2))))"
        if "Y" in self.has:
            yield self.shown(inside)

    def shown(self, inside: str) -> str:
        """The rows of an image, augmented if there is something that augments."""
        augmented = [name for name in "XZ" if name in self.has]
        forms = {"X": f"X(Y({inside}))", "Z": f"Z(Y({inside}), often)", "Y": f"Y({inside})"}
        return f'reduce({forms[self.pick([*augmented, *augmented, "Y"])]}, "b c h w -> b h", "mean")'

    def _ops(self, inside: str, other: str) -> Iterable[str]:
        """Ops on values, a third of those that there are."""
        forms = [
            f"lerp({inside}, {other}, 0.5)", f"{inside} + {other}", f"lerp({inside}, {other}, uniform(1))",
            f"take({inside}, argsort(uniform(), dim=0))", f"where({inside} > 0, {other}, 0.5 * {inside})",
            f"where(y == 1, {inside}, 0.5 * {other})", f"where(row.kind == 1, {inside}, {other})",
            f"gather({inside}, places)", f"sort({inside})", f"cumsum({inside})", f"flip({inside}, dim=1)",
            f'reduce(stack({inside}, {other}), "b n c -> b c", "max")',
            f'reduce(repeat({inside}, "b c -> b n c", n=2), "b n c -> b c", "sum")',
            f"{inside} + detach(round({inside}) - {inside})", f"linear(0.5, 1) * {inside}", f"progress * {inside}",
            f'einsum("b c, c d -> b d", {inside}, tensor([[0, 1], [0.5, 0]], like={other}))',
        ]  # fmt: skip
        return self.random.sample(forms, 5)

    def loss(self, name: str) -> str:
        anchors = {each: self.value(1) for each in ("a", "b")}
        label = self.pick(["y", "row.kind"])
        begun = " + 0.1 * mean(N(x))" * (name == "judge" and "N" in self.has)  # only what is called can begin
        written = {**anchors, "term": self.term(), "shown": self.shown(anchors["b"]), "label": label}
        return LOSSES[name][1].format(**written) + begun

    def term(self) -> str:
        """A small part of a loss."""
        kinds = [self._penalties, self._sums, self._of_parameters, self._of_networks]
        return self.pick(["0", *self.pick(kinds)(self.value(), self.value())])

    def _penalties(self, value: str, other: str) -> list[str]:
        """Terms with gradients of a critic."""
        at = self.pick(self.values)
        from_at = self.pick([at, f"lerp({at}, {value}, 0.5)", f"{value} + {at}"])
        terms = [f"0.1 * mean(norm(grad(D({from_at}), {at})))", f"0.1 * mean(norm(grad(D({from_at}).features, {at})))"]
        if "F" in self.has:
            terms += [f"0.1 * mean(norm(grad(F[1]({from_at}), {at})))"]
        return [*terms, f"0.1 * l2({value}, at_first({other}))"] if self.certain else terms

    def _sums(self, value: str, other: str) -> list[str]:
        """Terms of values, within samples and across the batch."""
        return [
            f"0.1 * l2({value}, {other})", f"0.1 * mean(topk(D({value}), 2, dim=0))",
            f'0.1 * mean(tanh(einsum("i c, j c -> i j", {value}, {other})))',
            f'0.1 * mean(einsum("b c, b c -> b", {value}, {other}))',
            f'0.1 * mean(einsum("i i -> i", einsum("i c, j c -> i j", {value}, tanh({other}))))',
            f"0.1 * l1(stft({value}, 2, 1), stft({other}, 2, 1))", f"0.1 * mean(minibatch_std({value}, group=2))",
            f"0.1 * total((batch_mean(D({value}).features) - batch_mean(D({other}).features)) ** 2)",
            f"0.1 * relativistic.critic(real=D({value}), fake=D({other}))",
        ]  # fmt: skip

    def _of_parameters(self, value: str, other: str) -> list[str]:
        """Terms of parameters, and of gradients with respect to them."""
        terms = [
            "0.01 * total(parameters(D) ** 2)", "0.01 * total(parameters(D.score) ** 2)",
            f"0.1 * total(grad(mean(D({value})), parameters({self.pick(['D', 'D.body'])})) ** 2)",
            f"0.1 * total(grad(mean(D(G({value}))), parameters(G.trunk)) ** 2)",
            f"detach(total(grad(mean(D({value})), parameters(D.body)) ** 2)) * mean(D({other}))",
            "0.01 * sum(total(einsum('i k, j k -> i j', w, w) ** 2) - total(norm(w) ** 4) "
            f"for w in matrices({self.pick('GD')}))",
            "0.1 * total(weight_matrix(G.head.linear) ** 2)",
        ]  # fmt: skip
        if "V" in self.has:
            terms += ["0.1 * total(parameters(code) ** 2)", "0.1 * l2(N_code, x)"] * 2
            terms += [f"0.1 * total(grad(mean(D(code) * D({value})), parameters(code)) ** 2)"]
        return terms

    def _of_networks(self, value: str, other: str) -> list[str]:
        """Terms of networks with named outputs, and of those that give something else than two numbers."""
        terms = [f"0.1 * l2(D({value}).features, D({other}).features)", f"0.1 * mean(D({value}).features * D({value}))"]
        if "A" in self.has:
            terms += [f"0.1 * mean(A({value}))", f"0.1 * l2(A({value}).features, D({value}).features)"] * 2
        if "P" in self.has:
            terms += [f"0.1 * mean(P({value}).a - P({other}).b)"] * 2
        if "B" in self.has:
            layers = f"share[i][k] * l1(B[i]({value}).h[k], B[i]({other}).h[k])"
            terms += [f"0.1 * sum({layers} for i in 1..2 for k in 1..i)"] * 3
        if "K" in self.has:
            terms += [f"0.1 * cross_entropy(K({value}), y)"] * 2
        return terms

    def state(self) -> str:
        """Numbers and a tensor that steps leave to the next, or nothing."""
        if not self.moves:
            return ""
        value, other = self.value(), self.value()
        first = f"at_first({value})" if self.certain else value
        rules = [f"mean({value})", f"mean(D({other}))", f"mean(again(D(fake)) + {value})", f"mean({first} + 0.1 * m)"]
        rules += [f"mean(tanh({first}))"] * 2
        often = [self.pick(["", "", ", every: 2", ", when: step > 1"]) for _ in range(2)]
        return (
            f"state:\n  s: {{start: 0, next: 'clamp(lerp(s, {self.pick(rules)}, 0.5), -1, 1)'{often[0]}}}\n"
            f"  m: {{start: \"zeros(1, 2)\", next: 'lerp(m, clamp(batch_mean({other}), -1, 1), 0.2)'{often[1]}}}\n"
            f"  \"q[k in 1..2]\": {{start: 0.5, next: 'lerp(q[k], tanh(mean({value})) / k, 0.5)'}}\n"
        )
