"""What random specs are made of: features and how a text shows them, networks, losses, layers, and files."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

import gangraph
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
    "outputs that are a family": r"\bB\[i\]\(.*\)\.h\[k\]",
    "family of networks": r"F\[1\]\(",
    "family of networks in two indices": r"U\[2\]\[[12]\]\(",
    "family of values in two indices": r"\bw\[i in 1\.\.2\]\[k in 1\.\.i\]",
    "family of losses in two indices": r"each\[i in 1\.\.2\]\[k in 1\.\.i\]",
    "family of static numbers in two indices": r"share\[i\]\[k\] \*",
    "family of updates": r"for k in 1\.\.2:",
    "family of updates in two indices": r"for i in 1\.\.2:\n.*for k in 1\.\.i:",
    "family of groups at once": r'update: \{"f\[k in 1\.\.2\]"',
    "family of states": r"\bq\[k in 1\.\.2\]",
    "list of a family": r"\[B\[i\] for i in 1\.\.2\]",
    "layers by a loop": r"for k in 1\.\.2: linear",
    "shared part": r"\bS: G\(share=",
    "function that draws": r"\bJ\((?!draw)",
    "function that draws once": r"\bO\(",
    "draw that is given": r"J\(.*, by=",
    "augmentation": r"\bX\(Y\(",
    "augmentation by a chance that changes": r"\bZ\(Y\(.*, often\)",
    "layers with several inputs": r"\bM\(",
    "layers with several inputs on images": r"\bR\(",
    "modulated convolution": r"modulated_conv2d\(",
    "modulated convolution that enlarges": r"modulated_conv2d\(.*up=2",
    "normalisation by class": r"conditional_batch_norm\(classes=3",
    "attention between places of images": r"look\(t, t, t\)",
    "clips": r"conv_lstm\(",
    "frames of a file": r"rearrange\(film",
    "network on its own output": r"last\(C\(told\[k-1\]\)\)",
    "columns of a table": r"(?m)^  (?!rows:).*\brows\b(?!\.csv)",
    "classes of a table": r"row\.kind",
    "tokens": r"\bL\(words",
    "step of each sample": r"last\(h, clamp\(lengths",
    "classes": r"cross_entropy\(K\(",
    "average that copies": r"E: average.*copy",
    "average of buffers": r"E: average.*average",
    "average in an objective": r"(?m)^  (?!E:|A:).*\b[EA]\(",
    "average of a variable": r"N_code\b(?!:)",
    "average whose decay changes": r"decay=step",
    "state that nothing trains": r"\bT\((?!.*, lr=)",
    "gate on losses": r"when: (judge|\"hysteresis|\"running|not ahead)",
    "gate of one group": r"minimize: judge, when:",
    "gate on an average of losses": r"running\(judge",
    "gate with a name": r"when: not ahead",
    "condition on time": "when: step",
    "every": "every: ",
    "times": r"times: \d\b(?! if)",
    "times that change": "times: 0 if",
    "accumulate": "accumulate: ",
    "draw": "draw: ",
    "maximize": r"maximize: ",
    "simultaneous updates": r"update: \{",
    "unroll": "unroll: ",
    "unroll of one group of several": r"minimize: (fool|deceive), unroll:",
    "history": r"history\(",
    "history of a history": r"history\(history",
    "at first": r"at_first\(",
    "again": r"again\(",
    "state that a loss reads": r"(?m)^  (?!s:|m:|\"q).*\bs\b",
    "state of the end of a step": r"s: \{start: 0, next: '(?!.*at_first).*",
    "state as it was in an update": r"s: \{start: 0, next: '.*at_first",
    "state that is a tensor": r"m: \{start: \"zeros",
    "state that moves now and then": r"[sm]: .*(every|when): ",
    "detach": r"detach\(",
    "gradient as a value": r"grad\(",
    "parameters as a value": r"parameters\(",
    "parameters of a part": r"total\(parameters\(\w\.",
    "parameters of a variable": r"parameters\(code\)",
    "gradient with respect to parameters": r"parameters\(\w+(\.\w+)?\)\) \*\* 2",
    "gradient that is a number": r"detach\(total\(grad\(",
    "matrices of a network": r"for w in matrices\(",
    "matrix of a layer": r"weight_matrix\(",
    "operation on parameters": r"then: ",
    "several operations on parameters": r"then: \[",
    "frozen network from elsewhere": r"\bQ\(",
    "network that is trained from elsewhere": r"\bW\(",
    "average from elsewhere": r'network="QE"',
    "network that starts as another": r"start:\n  N: from_run",
    "network that starts as a file": r"start:\n  N: file",
    "start of all that fits": r"start: from_run",
    "limited gradient": "clip_grad",
    "limit that changes": r"clip_grad_norm: \"linear",
    "pairs of samples": r"einsum\(\"i c",
    "products of each sample": r"einsum\(\"b c",
    "products with a literal tensor": r"tensor\(\[\[",
    "diagonal": r"einsum\(\"i i -> i",
    "reduction by a pattern": r"reduce\(stack\(",
    "repetition by a pattern": r"repeat\(",
    "places of each sample": r"gather\(.*, places\)",
    "order of each sample": r"sort\(",
    "step whose gradient is passed on": r"detach\(round\(",
    "statistics of the batch": r"minibatch_std\(|batch_mean\(D",
    "shuffled batch": r"take\(",
    "choice by a comparison": r"where\(.* > 0",
    "choice by a class": r"where\(y == 1",
    "largest of the batch": r"topk\(.*dim=0",
    "layer that moves samples": r"roll\(1, dim=0\)",
    "layer by a pattern": r"rearrange\(\"b n -> b n\"\)",
    "recurrent layers": r"lstm\(|gru\(",
    "spectra": r"stft\(",
    "number over time in a value": r"linear\(0\.5, 1\) \*|progress \*",
    "momentum and moments": r"adam|momentum=0\.5\)",
    "other optimizers": r"rmsprop|adagrad|adamw",
    "optimism": r"optimistic_adam\(",
    "option that changes": r"lr=linear\(|betas=\[0\.5, cosine",
    "rates of parts": r"\[G\.head\(lr=|\[D\.score\(lr=",
    "group of parts alone": r"\[D\.body, D\.score",
    "variable": r"variables:",
    "variable that begins as data": r"code: x",
    "variable of all samples": r"\bshift\)",
    "variable and network in one group": r"\[code, V\.",
    "several evaluations in a step": r"lbfgs\(",
    "steps ahead of its own groups": "gradient: false",
    "data": r"x: plane|x: \"plane",
    "fixed samples": r"x: .*fixed\(",
    "spec over another": r"(?m)^base: ",
    "profile": r"default_profile: quick",
    "phases": r"phases:",
    "optimizers that are carried over": r"carry: optimizers",
    "state that a phase changes": r"m: \{every: 3",
    "evaluation": r"evaluate:",
    "evaluation in training mode": "mode: train",
    "evaluation with dropout": r"dropout\((.|\n)*mode: train",
    "evaluation of other samples": "samples: 7",
    "state in an evaluation": "beside: ",
    "network on a state alone": "alone: ",
    "variable in an evaluation": r"variable: \"",
    "frames of a sampler": r"frames: \"\[",
    "given chances": r"# half of what happens by chance is given",
}

NETWORKS: Mapping[str, str] = {
    "G": "  G: {{inputs: z, parts: {{trunk: '{trunk}', head: linear(2)}}, values: {{h: trunk(z)}}, output: head(h)}}",
    "S": "  S: G(share=G.trunk)",
    "H": "  H: {{inputs: x, layers: '{h}, linear(2)'}}",
    "T": "  T: {{inputs: x, layers: '{t}'}}",
    "F": "  \"F[k in 1..2]\": {{inputs: x, layers: '{f}, linear(2)'}}",
    "U": "  \"U[i in 1..2][k in 1..i]\":\n    inputs: x\n    layers:\n      - '{u}'\n"
    "      - for k in 1..2: linear(k + 1), tanh\n      - linear(2)",
    "D": "  D:\n    inputs: x\n    parts: {{body: '{d}', score: '{score}'}}\n    values: {{h: body(x)}}\n"
    "    output: score(h)\n    outputs: {{features: h}}",
    "B": '  "B[i in 1..2]":\n    inputs: x\n    parts: {{"block[k in 1..i+1]": \'{b}\', score: linear(1)}}\n'
    '    values: {{"h[1]": "block[1](x)", "h[k in 2..i+1]": "block[k](h[k-1])"}}\n'
    '    output: score(h[i+1])\n    outputs: {{"h[k in 1..i+1]": "h[k]"}}',
    "P": "  P:\n    inputs: x\n    parts: {{body: '{p}', first: linear(2), second: '{second}'}}\n"
    "    values: {{h: body(x)}}\n    outputs: {{a: first(h), b: second(h)}}",
    "J": '  J: {{inputs: x, draw: {{by: "normal(2, std=0.1)", s: uniform(1)}}, output: (1 + s) * x + by}}',
    "O": '  O: J(draw="once")',
    "M": "  M:\n    inputs: [x, w]\n    parts: {{map: linear(4), mix: conditional_batch_norm(eps=0.1),"
    " look: '{look}', down: linear(2)}}\n    values: {{h: 'mix(map(x), w)', r: 'reshape(h, 2, 2)'}}\n"
    "    output: down(h + flatten(look(r, r, r)))",
    "R": "  R:\n    inputs: [x, w, y]\n    parts:\n      map: linear(8), reshape(2, 2, 2)\n      style: linear(2)\n"
    "      mix: {mix}, {noise}tanh\n      by: conditional_batch_norm(classes=3, eps=0.1), tanh\n      look: '{look}'\n"
    "      down: flatten, linear(2)\n    values:\n      h: mix(map(x), style(w))\n"
    "      t: 'rearrange(by(h, y), \"b c h w -> b (h w) c\")'\n    output: down(look(t, t, t))",
    "X": "  X: diffaugment({augment})",
    "Z": "  Z: ada({ada})",
    "Y": "  Y: {{inputs: x, layers: 'linear(12), tanh, reshape(3, 2, 2)'}}",
    "C": "  C: {{inputs: c, layers: 'conv_lstm(1), {c}'}}",
    "L": "  L:\n    inputs: [t, y]\n"
    "    parts: {{vectors: 'embedding(4, 2)', reader: '{reader}', kind: 'embedding(3, 2)'}}\n"
    "    values: {{h: reader(vectors(t))}}\n"
    "    output: last(h, clamp(lengths(t), 1, 3)) + last(h, y + 1) + kind(y)",
    "K": "  K: {{inputs: x, layers: '{k}, linear(3)'}}",
    "E": '  E: average({averaged}, decay={decay}, buffers="{buffers}")',
    "A": "  A: average(D, decay=0.5)",
    "Q": '  Q: from_run("{files}/run", network="{frozen}")',
    "W": '  W: from_run("{files}/run", network="W")',
    "N": "  N: {{inputs: x, layers: '{start}'}}",
    "V": "  V: {{inputs: x, parts: {{first: linear(3), last: linear(2)}}, values: {{h: tanh(first(x))}},"
    " output: last(h)}}\n  N_code: average(code, decay=0.9)",
}
START = "spectral_norm(linear(3)), batch_norm(eps=0.1), tanh, linear(2)"
ELSEWHERE = f"""
gangraph: 1
name: elsewhere
data: {{x: normal(2)}}
networks:
  Q: {{inputs: x, layers: "spectral_norm(linear(3)), batch_norm(eps=0.1), tanh, dropout(0.5), linear(2)"}}
  W: {{inputs: x, layers: "{START}"}}
  N: {{inputs: x, layers: "{START}"}}
  QE: average(Q, decay=0.5)
losses: {{near: "l2(Q(x), x) + l2(W(x), x) + l2(N(x), x)"}}
train: {{batch: 4, length: 3 steps, optimizers: {{q: "sgd([Q, W, N], lr=0.1)"}}, step: [{{update: q, minimize: near}}]}}
"""
LOSSES: Mapping[str, tuple[str, str]] = {  # each loss, and the network that it is for
    "judge": ("D", "logistic.critic(real=D(x), fake=D({a})) + {term}"),
    "verdict": ("D", "hinge.critic(real=D({b}), fake=D({a})) + {term}"),
    "gain": ("D", "tanh(mean(D({a})) - mean(D({b}))) - {term}"),  # made larger
    "fool": ("G", "logistic.generator(D(fake)) + {term}"),
    "deceive": ("G", "l2(G({a}), x) + {term}"),
    "aux": ("H", "l2(H({a}), x) + {term}"),
    "pair": ("P", "l2(P(x).a, {b}) + mean(P({a}).b * P({a}).a) + {term}"),
    "steer": ("W", "l2(W({a}), x) + {term}"),
    "paint": ("V", "l2(V(code), {a}) + 0.1 * l2(code, x) + 0.1 * mean(shift ** 2) + {term}"),
    "rank": ("B", "sum(hinge.critic(real=B[i](x), fake=B[i]({a})) for i in 1..2) + {term}"),
    "draws": ("R", "l2(R({a}, {b}, y), x) + {term}"),
    "next": ("C", "sum(l2(column(C(clip), k), column(clip, k + 1)) for k in 0..1) + {term}"),
    "say": ("L", "l2(L(words, y), {a}) + {term}"),
    "kinds": ("K", "cross_entropy(K({a}), {label}) + {term}"),
    "begin": ("N", "l2(N({a}), x) + {term}"),
    "show": ("Y", "l2({shown}, {a}) + {term}"),
    "own[k in 1..2]": ("F", "l2(F[k]({a}), x) + 0.1 * mean(F[3 - k](x)) + {term}"),
    "each[i in 1..2][k in 1..i]": ("U", "l2(U[i][k]({a}), x) + 0.1 * i * mean(U[3 - i][1](x)) / k + {term}"),
}
TEXT = """
gangraph: 1
name: random
{let}data:
  x: {x}
  z: normal(2)
  z2: normal(2)
  y: categorical(3)
  places: permutation(2)
  words: categorical(4, count=3)
  film: npz("{files}/film.npz", key="film", shape=[1, 3, 1, 2], frames=3, range="raw")
  row: table("{files}/rows.csv", numbers=[["age", 0, 10], ["size", -1, 1]], categories=[["kind", "a", "b", "c"]])
networks:
{networks}
{variables}
{start}values:
{values}
losses:
{losses}
{state}train:
  batch: 4
{length}  optimizers:
{optimizers}
  step:
{step}{evaluate}{profiles}"""

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
MIXES = (
    "modulated_conv2d(2, 3)", "modulated_conv2d(2, 3, up=2)", "modulated_conv2d(2, 1, up=2)",
    "modulated_conv2d(2, 1, demodulate=false)",
    "equalized(modulated_conv2d(2, 3))", "spectral_norm(modulated_conv2d(2, 1))",
)  # fmt: skip
OPTIMIZERS = (  # by their kind, with what follows the networks; epsilons are large, since rounding would else be steps
    ("sgd", "lr=0.05"), ("sgd", "lr=0.02, momentum=0.5"), ("adam", "lr=1e-2, eps=1e-2"),
    ("sgd", "lr=linear(0.05, 0.01)"), ("adam", "lr=1e-2, eps=1e-2, betas=[0.5, cosine(0.9, 0.99)]"),
    ("adamw", "lr=1e-2, eps=1e-2, weight_decay=0.1"), ("rmsprop", "lr=1e-2, eps=1e-2"),
    ("adagrad", "lr=1e-2, eps=1e-2"), ("optimistic_adam", "lr=1e-2, eps=1e-2"),
)  # fmt: skip


@cache
def files() -> Path:
    """A folder with what specs take from elsewhere: a run, weights, a clip and a table; specs may be written there."""
    folder = Path(mkdtemp(prefix="elsewhere-"))
    trainer = gangraph.Trainer(read(ELSEWHERE), device="cpu", precision="fp64")
    trainer.train()
    trainer.save(folder / "run")
    numbers = np.random.default_rng(0)
    np.savez(folder / "film.npz", film=numbers.standard_normal((12, 1, 1, 2)).astype("float32"))
    rows = (f"{row % 11},{row % 5 / 2 - 1},{'abc'[row % 3]}" for row in range(13))
    (folder / "rows.csv").write_text("\n".join(["age,size,kind", *rows, ""]))
    (folder / "names.yaml").write_text("layers.*: network/W/layers.*\n")
    return folder
