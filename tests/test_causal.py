"""Networks that tell each pixel from those before it: masks, causality, LSTMs over images, likelihoods and drawing."""

import copy
import math
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import gangraph
from gangraph.errors import SpecError
from gangraph.run.pixels import PixelByPixel
from gangraph.session.run import measure_now
from gangraph.terminal import Countdown
from gangraph.vocabulary.causal import (
    DiagonalLstm,
    MaskedConv2d,
    RowLstm,
    categorical_nll,
    causal_mask,
    gated,
    skewed,
    unskewed,
)
from gangraph.vocabulary.losses import bernoulli_nll
from tests.support import read

SPEC = """
gangraph: 1
name: pixels
data:
  digits: digits(size={size}, channels={channels}, range="unit")
networks:
  P: {network}
values:
  x: digits.image > 0.5
  y: one_hot(digits.label, 10)
  logits: {logits}
losses:
  likelihood: {loss}
train:
  batch: 4
  length: 4 steps
  optimizers: {{pixels: "sgd(P, lr=0.1)"}}
  step: [{{update: pixels, minimize: likelihood}}]
evaluate:
  samples: 3
  values: {{drawn: "{drawn}"}}
  grid: [x, drawn]
  results: {{nats: likelihood}}
"""
PLAIN = '{inputs: x, layers: \'masked_conv2d(8, 7, "A"), relu, masked_conv2d(1, 3, "B")\'}'
# The networks that tell pixels, small, in all their forms.
NETWORKS = {
    "pixelcnn": "pixelcnn(filters=5, blocks=2, head=7, levels={levels}, colours={colours})",
    "gated": "gated_pixelcnn(filters=5, layers=3, head=7, levels={levels}, colours={colours})",
    "conditional": "conditional_gated_pixelcnn(filters=5, layers=3, head=7, levels={levels}, colours={colours})",
    "diagonal": "pixel_lstm(filters=5, layers=2, head=7, levels={levels}, colours={colours})",
    "row": "pixel_lstm(filters=5, layers=2, head=7, levels={levels}, colours={colours}, lstm=row_lstm)",
    "residual": "pixel_lstm(filters=5, layers=2, head=7, levels={levels}, colours={colours}, residual=true)",
}


def trainer(network: str = PLAIN, *, size: int = 6, channels: int = 1, **parts: str) -> gangraph.Trainer:
    """A trainer of a network that tells the pixels of small digits, in float64."""
    chosen = {"logits": "P(x)", "loss": "bernoulli_nll(logits, x)", "drawn": "autoregressive(logits, x)", **parts}
    text = SPEC.format(network=network, size=size, channels=channels, **chosen)
    return gangraph.Trainer(read(text), device="cpu", precision="fp64")


def shipped(name: str, levels: int = 1, colours: int = 1, size: int = 6) -> nn.Module:
    """A shipped network that takes an image alone; a class is fixed where it takes one."""
    written = NETWORKS[name].format(levels=levels, colours=colours)
    conditional = {"logits": "P(x, y)"} if name == "conditional" else {}
    loss = {} if levels == 1 else {"loss": "categorical_nll(logits, x)"}
    network = trainer(written, size=size, channels=colours, **conditional, **loss).networks["P"]
    return _OfClass(network) if name == "conditional" else network


class _OfClass(nn.Module):
    """A conditional network under one class."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x, torch.eye(10, dtype=x.dtype)[:1].expand(len(x), -1))  # type: ignore[no-any-return]  # a module returns Any


def influence(network: nn.Module, colours: int, size: int = 6) -> Tensor:
    """How much each number of an image moves the logits of each: [to, from] in raster order, colour by colour."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(4, colours, size, size, generator=generator, dtype=torch.float64).requires_grad_()
    made = network(x)
    rows = []
    for row, column, colour in product(range(size), range(size), range(colours)):
        own = made[:, colour::colours, row, column]
        mixed = own * torch.rand(own.shape, generator=generator, dtype=torch.float64)  # softmax ignores a common shift
        (moved,) = torch.autograd.grad(mixed.sum(), x, retain_graph=True)
        rows.append(moved.abs().amax(0).permute(1, 2, 0).flatten())
    return torch.stack(rows)


def leaks(network: nn.Module, colours: int = 1) -> float:
    """How much any number of an image is moved by itself or by one that comes later."""
    return float(influence(network, colours).triu().max())


def test_masks_keep_what_comes_before() -> None:
    def taps(kind: str, size: int) -> list[str]:
        mask = causal_mask(kind, 1, 1, size, size, 1)[0, 0]
        return ["".join(".#"[int(tap)] for tap in row) for row in mask]

    assert taps("A", 3) == ["###", "#..", "..."]
    assert taps("B", 3) == ["###", "##.", "..."]
    assert taps("above", 3) == ["###", "...", "..."]
    assert taps("row", 3) == ["###", "###", "..."]
    counts = {(kind, size): int(causal_mask(kind, 1, 1, size, size, 1).sum()) for kind in "AB" for size in (3, 7)}
    assert counts == {("A", 3): 4, ("A", 7): 24, ("B", 3): 5, ("B", 7): 25}
    assert causal_mask("B", 1, 1, 1, 5, 1).flatten().tolist() == [True, True, True, False, False]


@pytest.mark.parametrize("kind", ["A", "B"])
def test_colours_are_interleaved_and_in_order(kind: str) -> None:
    centre = causal_mask(kind, 7, 4, 3, 3, 3)[:, :, 1, 1]
    for target, source in product(range(7), range(4)):
        i, j = source % 3, target % 3
        assert bool(centre[target, source]) == (i < j if kind == "A" else i <= j)


def test_parts_have_colours_of_their_own() -> None:
    layer = MaskedConv2d(3, 10, 1, "A", colours=3, parts=2)
    assert torch.equal(layer.mask[:5], layer.mask[5:])
    assert torch.equal(layer.mask[:5], causal_mask("A", 5, 3, 1, 1, 3))


def test_a_masked_tap_stays_masked_whatever_its_weight() -> None:
    layer = MaskedConv2d(1, 2, 3, "A").double()
    x = torch.rand(1, 1, 5, 5, dtype=torch.float64)
    before = layer(x)
    layer.weight.data += 100 * (~layer.mask)
    assert torch.equal(layer(x), before)
    expected = functional.conv2d(x, layer.weight * layer.mask, layer.bias, padding=1)
    assert torch.equal(before, expected)
    layer(x).sum().backward()
    assert layer.weight.grad is not None and not layer.weight.grad[~layer.mask].any()


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('masked_conv2d(8, 4, "A")', "its sizes are odd, but got 4 x 4"),
        ('masked_conv2d(8, 3, "C")', "mask is 'C', expected one of A, B, above, row"),
        ('masked_conv2d(8, [1, 3], "above")', "a kernel of one row sees nothing above"),
        ('masked_conv2d(8, 3, "A", parts=3)', "8 channels are not 3 equal parts"),
        ("flatten, row_lstm(4)", "expected images"),
        ('masked_conv2d(7, 3, "A"), gated', "7 channels have no two halves"),
    ],
)
def test_a_layer_that_cannot_be_is_refused_with_its_reason(written: str, said: str) -> None:
    with pytest.raises(SpecError, match="error GG402") as caught:
        trainer(f"{{inputs: x, layers: '{written}'}}")
    assert said in str(caught.value)


@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_no_pixel_of_a_shipped_network_depends_on_itself_or_on_a_later_one(name: str, colours: int) -> None:
    network = shipped(name, levels=1 if colours == 1 else 4, colours=colours)
    assert leaks(network, colours) == 0
    assert influence(network, colours).tril(-1).count_nonzero() > 100


def test_a_learned_map_tells_each_pixel_from_none() -> None:
    network = trainer("pixel_map(size=6)").networks["P"]
    assert sum(parameter.numel() for parameter in network.parameters()) == 36
    assert network(torch.rand(2, 1, 6, 6, dtype=torch.float64)).unique(dim=0).shape == (1, 1, 6, 6)


def test_every_shipped_network_with_masks_is_tested_so() -> None:
    files = {path.stem for path in Path("specs/networks").glob("*.yaml") if "masked_conv2d" in path.read_text()}
    assert files == {written.partition("(")[0] for written in NETWORKS.values()}


@pytest.mark.parametrize(
    "layers",
    [
        'masked_conv2d(4, 3, "B"), relu, masked_conv2d(1, 3, "B")',  # the first layer sees the pixel itself
        'masked_conv2d(4, 3, "A"), relu, conv2d(1, 3, padding=1)',
        'masked_conv2d(4, 3, "row"), relu, masked_conv2d(1, 3, "B")',
        'masked_conv2d(4, 3, "A"), relu, masked_conv2d(4, 3, "row"), masked_conv2d(1, 1, "B")',
    ],
)
def test_a_leak_is_found(layers: str) -> None:
    network = trainer(f"{{inputs: x, layers: '{layers}'}}").networks["P"]
    assert leaks(network) > 1e-6


def test_a_leak_between_colours_is_found() -> None:
    blind = 'masked_conv2d(6, 3, "A", colours=3), relu, masked_conv2d(3, 3, "B")'
    network = trainer(f"{{inputs: x, layers: '{blind}'}}", channels=3).networks["P"]
    assert leaks(network, 3) > 1e-6
    parts = 'masked_conv2d(14, 3, "A", colours=3), gated, masked_conv2d(3, 1, "B", colours=3)'
    network = trainer(f"{{inputs: x, layers: '{parts}'}}", channels=3).networks["P"]
    assert leaks(network, 3) > 1e-6


def test_a_plain_stack_is_blind_to_the_upper_right_and_the_gated_one_is_not() -> None:
    def seen_by(network: nn.Module, row: int, column: int) -> Tensor:
        return influence(network, 1, size=9)[row * 9 + column].reshape(9, 9) > 0

    deep = ", ".join(['masked_conv2d(8, 3, "A")', *['relu, masked_conv2d(8, 3, "B")'] * 5])
    plain = trainer(f"{{inputs: x, layers: '{deep}, masked_conv2d(1, 1, \"B\")'}}", size=9).networks["P"]
    seen = seen_by(plain, 6, 3)
    for up in range(1, 7):
        assert not seen[6 - up, 3 + up + 1 :].any()  # it sees no further than the diagonal
    assert seen[5, 4] and seen[2, 7]
    assert seen_by(shipped("gated", size=9), 6, 3)[5, 5:].all()


def lstm(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """One step, from gates [4 h] in the order o, f, i, g."""
    o, f, i, g = gates.chunk(4)
    cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(cell), cell


def randomised(layer: nn.Module) -> nn.Module:
    """A layer in float64 of which every parameter is random, first states too."""
    generator = torch.Generator().manual_seed(3)
    for parameter in layer.double().parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.5
    return layer.requires_grad_(False)


def test_the_row_lstm_is_the_loop_over_pixels() -> None:
    layer = randomised(RowLstm(2, 5, 3, kernel=3))
    assert isinstance(layer, RowLstm)
    x = torch.randn(1, 2, 4, 5, dtype=torch.float64)
    into, state = layer.from_input, layer.from_state.weight
    hidden, cell = layer.hidden, layer.cell
    made = layer(x)
    for row in range(4):
        states = []
        for column in range(5):
            gates = into.bias.clone()  # type: ignore[union-attr]  # it has one
            for offset in (-1, 0):
                if column + offset >= 0:
                    gates += into.weight[:, :, 0, 1 + offset] @ x[0, :, row, column + offset]
            for offset in (-1, 0, 1):
                if 0 <= column + offset < 5:
                    gates += state[:, :, 1 + offset] @ hidden[:, column + offset]
            states.append(lstm(gates, cell[:, column]))
        hidden, cell = (torch.stack(each, 1) for each in zip(*states, strict=True))
        assert torch.allclose(made[0, :, row], hidden, atol=1e-12)


def diagonal(x: Tensor, layer: DiagonalLstm, side: str) -> Tensor:
    """One direction pixel by pixel: the state above and the one to the left; outside, gates have no input."""
    one = getattr(layer, side)
    height, width = x.shape[1:]
    state = one.from_state.weight
    states: dict[tuple[int, int], tuple[Tensor, Tensor]] = {
        (r, -1 - r): (one.hidden[:, r], one.cell[:, r]) for r in range(height)
    }
    for time, row in product(range(height + width - 1), range(height)):
        column = time - row
        inside = 0 <= column < width
        gates = (
            one.from_input.weight[:, :, 0, 0] @ x[:, row, column] + one.from_input.bias if inside else torch.zeros(12)
        )
        left, cell = states[row, column - 1]
        gates = gates.double() + state[:, :, 1] @ left
        if row:
            gates = gates + state[:, :, 0] @ states[row - 1, column][0]
        states[row, column] = lstm(gates, cell)
    return torch.stack(
        [torch.stack([states[row, column][0] for column in range(width)], 1) for row in range(height)], 1
    )


def test_the_diagonal_lstm_is_the_loop_over_pixels_from_both_corners() -> None:
    layer = randomised(DiagonalLstm(2, 4, 3))
    assert isinstance(layer, DiagonalLstm)
    x = torch.randn(2, 4, 5, dtype=torch.float64)
    expected = diagonal(x, layer, "left")
    expected[:, 1:] += diagonal(x.flip(2), layer, "right").flip(2)[:, :-1]
    assert torch.allclose(layer(x[None])[0], expected, atol=1e-12)


def test_skewing_shifts_each_row_by_its_number_and_back() -> None:
    x = torch.arange(1.0, 13).reshape(1, 1, 3, 4)
    assert skewed(x)[0, 0].tolist() == [[1, 2, 3, 4, 0, 0], [0, 5, 6, 7, 8, 0], [0, 0, 9, 10, 11, 12]]
    assert torch.equal(unskewed(skewed(x)), x)


def test_first_states_are_learned_and_fix_a_side() -> None:
    layer = RowLstm(1, 5, 3)
    layer(torch.rand(2, 1, 4, 5)).sum().backward()
    assert layer.hidden.grad is not None and layer.hidden.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="made for a width of 5, and this image has 6"):
        layer(torch.rand(2, 1, 4, 6))
    with pytest.raises(ValueError, match="made for a height of 4, and this image has 6"):
        DiagonalLstm(1, 4, 3)(torch.rand(2, 1, 6, 4))


def test_parameter_counts_are_those_of_the_known_networks() -> None:
    head = ", ".join(['masked_conv2d(64, 1, "B"), relu'] * 2 + ['masked_conv2d(1, 1, "B")'])
    plain = ", ".join(['masked_conv2d(64, 7, "A")', *['masked_conv2d(64, 3, "B"), relu'] * 4, head])
    scans = f'masked_conv2d(64, 7, "A"), diagonal_lstm(64), diagonal_lstm(64), {head}'
    other = ", ".join(
        [
            'masked_conv2d(64, 7, "A", bias=false), batch_norm, relu',
            *['masked_conv2d(64, 7, "B", bias=false), batch_norm, relu'] * 7,
            'masked_conv2d(256, 1, "B")',
        ]
    )

    def count(layers: str, **more: str) -> int:
        made = trainer(f"{{inputs: x, layers: '{layers}'}}", size=28, **more).networks["P"]
        return sum(parameter.numel() for parameter in made.parameters())

    assert count(plain) == 159_297
    assert count(scans) == 223_553
    assert count(other, loss="categorical_nll(logits, x)") == 1_425_728
    cifar = trainer("pixelcnn(colours=3)", size=32, channels=3, loss="categorical_nll(logits, x)").networks["P"]
    assert sum(parameter.numel() for parameter in cifar.parameters()) == 5_340_416


def test_a_gradient_that_lies_transposed_in_memory_is_stepped_right() -> None:
    text = trainer("{inputs: x, layers: 'row_lstm(3), masked_conv2d(1, 1, \"B\")'}").spec.text
    engine = gangraph.Trainer(read(text.replace("sgd(P", "adam(P")), device="cpu", precision="fp64")
    network = copy.deepcopy(engine.networks["P"])
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1, fused=False)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        x = torch.rand(4, 1, 6, 6, generator=generator, dtype=torch.float64)
        engine.step({"digits": {"image": x, "label": torch.zeros(4, dtype=torch.int64)}})
        optimizer.zero_grad()
        bernoulli_nll(network((x > 0.5).double()), (x > 0.5).double()).backward()
        optimizer.step()
    for mine, theirs in zip(engine.networks["P"].parameters(), network.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-9)


def test_the_gate_is_tanh_times_sigmoid() -> None:
    x = torch.randn(2, 6, 3, 3)
    assert torch.equal(gated(x), torch.tanh(x[:, :3]) * torch.sigmoid(x[:, 3:]))


def test_the_categorical_likelihood_is_the_sum_over_pixels_and_colours() -> None:
    logits = torch.randn(2, 6, 2, 2, dtype=torch.float64)  # 3 levels of 2 colours
    target = torch.tensor([0.0, 0.5, 1.0, 0.49]).double().reshape(1, 1, 2, 2).expand(2, 2, 2, 2)
    levels = torch.tensor([0, 1, 2, 1]).reshape(2, 2)
    expected = 0.0
    for sample, colour, row, column in product(range(2), repeat=4):
        own = logits[sample, [colour, 2 + colour, 4 + colour], row, column]
        expected -= float(functional.log_softmax(own, 0)[levels[row, column]]) / 2
    assert categorical_nll(logits, target).item() == pytest.approx(expected)
    assert categorical_nll(torch.zeros(1, 256 * 3, 4, 4), torch.rand(1, 3, 4, 4)).item() == pytest.approx(
        48 * math.log(256), rel=1e-5
    )


def by_hand(network: nn.Module, x: Tensor, uniform: Tensor, rows: int, levels: int) -> Tensor:
    """Drawing as a person would write it, sample by sample."""
    drawn = x.clone()
    drawn[:, :, rows:] = 0
    colours = x.shape[1]
    for sample in range(len(x)):
        for row, column, colour in product(range(rows, x.shape[2]), range(x.shape[3]), range(colours)):
            logits = network(drawn[sample : sample + 1])[0, :, row, column]
            u = float(uniform[sample, colour, row, column])
            if levels == 1:
                drawn[sample, colour, row, column] = float(u < torch.sigmoid(logits[colour]))
                continue
            chances, level = torch.softmax(logits[colour::colours], 0).tolist(), 0
            while level < levels - 1 and u >= sum(chances[: level + 1]):
                level += 1
            drawn[sample, colour, row, column] = level / (levels - 1)
    return drawn


@pytest.mark.parametrize(("levels", "colours", "rows"), [(1, 1, 0), (1, 3, 2), (5, 1, 3), (4, 3, 0)])
@torch.no_grad()
def test_drawing_equals_the_loop_by_hand(levels: int, colours: int, rows: int) -> None:
    network = shipped("gated", levels, colours, size=4)
    generator = torch.Generator().manual_seed(levels)
    x, uniform = (torch.rand(3, colours, 4, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    drawn = PixelByPixel(network)(x, uniform, at=(0,), rows=rows)
    assert torch.equal(drawn, by_hand(network, x, uniform, rows, levels))
    assert torch.equal(drawn[:, :, :rows], x[:, :, :rows])
    assert not torch.equal(drawn[:, :, rows:], x[:, :, rows:])


def test_drawing_takes_one_call_for_each_pixel_that_is_drawn() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.modes: list[bool] = []

        def forward(self, x: Tensor) -> Tensor:
            self.modes.append(self.training)
            return torch.zeros_like(x)

    network = Counting()
    x = torch.rand(2, 3, 4, 5)
    assert torch.equal(PixelByPixel(network)(x, x, at=(0,), rows=4), x)
    assert network.modes == []
    PixelByPixel(network)(x, x, at=(0,), rows=3)
    assert network.modes == [False] * 15  # in evaluation mode
    assert network.training


def test_a_spec_draws_under_the_seed_and_completes_what_stays() -> None:
    first, again = trainer(), trainer()
    rows = trainer(drawn="autoregressive(P(x), x, rows=4)").evaluate()
    one, two = first.evaluate(), again.evaluate()
    assert one is not None and two is not None and rows is not None
    x, drawn = one.grid.values()
    assert drawn.shape == x.shape == (3, 1, 6, 6)
    assert set(drawn.flatten().tolist()) == {0.0, 1.0}
    assert torch.equal(drawn, two.grid["drawn"])
    assert torch.equal(rows.grid["drawn"][:, :, :4], x[:, :, :4])
    assert not torch.equal(rows.grid["drawn"], x)
    text = SPEC.format(
        network=PLAIN,
        size=6,
        channels=1,
        logits="P(x)",
        loss="bernoulli_nll(logits, x)",
        drawn="autoregressive(P(x), x)",
    )
    other = gangraph.Trainer(read(text), device="cpu", seed=1).evaluate()
    assert other is not None and not torch.equal(other.grid["drawn"].double(), drawn)


def test_what_is_drawn_is_what_the_network_gives_at_the_time() -> None:
    spec = trainer(PLAIN)
    before = spec.evaluate()
    with torch.no_grad():
        spec.networks["P"].get_submodule("layers.masked_conv2d_2").bias.fill_(50.0)  # type: ignore[operator,union-attr]  # a convolution
    after = spec.evaluate()
    assert before is not None and after is not None
    assert not before.grid["drawn"].all() and after.grid["drawn"].all()
    assert spec.networks["P"].training


def test_a_conditional_network_is_given_its_class_with_every_pixel() -> None:
    spec = trainer(NETWORKS["conditional"].format(levels=1, colours=1), logits="P(x, y)", size=4)
    look = spec.evaluate()
    assert look is not None
    assert "P_frozen_autoregressive(x, y, drawn_uniform, at = (0,)" in str(
        spec.engine.program.evaluation.code.graph.python_code("self").src  # type: ignore[union-attr]  # it has an evaluation
    )


def test_an_average_and_a_named_output_can_be_drawn_from() -> None:
    two = "{inputs: x, parts: {seen: 'masked_conv2d(4, 3, \"A\")', to: 'masked_conv2d(1, 1, \"B\")'}, "
    two += "outputs: {logits: 'to(seen(x))', features: 'seen(x)'}}\n  Q: average(P, decay=0.9)"
    spec = trainer(two, logits="P(x).logits", drawn="autoregressive(Q(x).logits, x)")
    spec.train(steps=2)
    look = spec.evaluate()
    assert look is not None and set(look.grid["drawn"].flatten().tolist()) <= {0.0, 1.0}


def test_what_is_drawn_can_be_measured_in_batches_of_any_size() -> None:
    spec = trainer(drawn="x").spec.text.replace(
        "results: {nats: likelihood}", "result_samples: 7\n  results: {ink: 'mean(autoregressive(P(x), x, rows=1))'}"
    )
    found = [measure_now(gangraph.Trainer(read(spec), device="cpu", precision="fp64"))["ink"] for _ in range(2)]
    assert found[0] == found[1]
    assert found[0].protocol["samples"] == 7
    assert found[0].value is not None and 0.1 < found[0].value < 0.9


def test_two_drawings_have_numbers_of_their_own() -> None:
    look = trainer(drawn="0.5 * (autoregressive(P(x), x) + autoregressive(P(x), x))").evaluate()
    assert look is not None and 0.5 in look.grid["drawn"]


def test_a_long_drawing_says_how_far_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Countdown, "patience", 0.0)
    said = Countdown("drawing pixel", 3)
    for _ in range(3):
        said.one_more()
    printed = capsys.readouterr()
    assert printed.out == ""
    assert [line.partition(",")[0] for line in printed.err.splitlines()] == [
        "drawing pixel 1 of 3",
        "drawing pixel 2 of 3",
    ]


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ({"logits": "P(x)", "loss": "mean(autoregressive(P(x), x))"}, "GG570"),
        ({"drawn": "autoregressive(P(x))"}, "GG312"),
        ({"drawn": "autoregressive(P(x), x, count=3)"}, "GG312"),
        ({"drawn": "autoregressive(P(x), digits.image)"}, "GG571"),
        ({"drawn": "autoregressive(x, x)"}, "GG571"),
        ({"drawn": "autoregressive(2 * P(x), x)"}, "GG571"),
        ({"drawn": "autoregressive(P(x), x, rows=7)"}, "GG572"),
        ({"drawn": "autoregressive(P(x), x, rows=1.5)"}, "GG572"),
        (
            {"network": "mlp(outputs=36)", "logits": "reshape(P(x), 1, 6, 6)", "drawn": "autoregressive(P(x), x)"},
            "GG572",
        ),
        ({"network": "{inputs: x, layers: 'masked_conv2d(1, 3, \"A\"), noise'}"}, "GG572"),
    ],
)
def test_what_cannot_be_drawn_is_refused(parts: dict[str, str], code: str) -> None:
    with pytest.raises(SpecError, match=f"error {code}"):
        trainer(parts.pop("network", PLAIN), **parts)
