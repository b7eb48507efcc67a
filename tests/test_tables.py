"""Tables with typed columns, several arrays of one file, and spectra of series: values, errors, training and resume."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gangraph import Trainer
from gangraph.data.arrays import Npz
from gangraph.data.fixed import FixedStream, fixed
from gangraph.data.source import finds, meanings
from gangraph.data.table import Table
from gangraph.errors import ArgumentError, DataError
from gangraph.language.spec import Spec
from gangraph.pipeline import check_spec
from gangraph.vocabulary.series import stft
from tests.support import copy_parameters, deviation, parameter_deviations, read, same, snapshot, trainer

STEPS = 20
PLANS = [(True, True), (False, True), (True, False), (False, False)]
NAMES = ["as planned", "merged", "shared", "plain"]

PEOPLE = """age,city,job
0,paris,cook
30,rome,"baker, master"
60,oslo,cook
120,rome,10th clerk
45,paris,9th clerk
"""
CITIES = ("city", "paris", "rome", "oslo")


def people(folder: Path, text: str = PEOPLE, name: str = "people.csv") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def everything(table: Table) -> dict[str, Tensor]:
    opened = table.open()
    return dict(opened.batch(range(len(opened)), torch.Generator()))


# Reading


def test_numbers_are_scaled_from_their_range_and_classes_numbered_as_listed(tmp_path: Path) -> None:
    file = people(tmp_path)
    found = everything(Table(file, numbers=[("age", 0, 120)], categories=[CITIES]))
    assert torch.equal(found["age"], torch.tensor([-1.0, -0.5, 0.0, 1.0, -0.25]))
    assert torch.equal(found["city"], torch.tensor([0, 1, 2, 1, 0]))
    raw = everything(Table(file, numbers=[("age", 0, 120)], range="raw"))
    assert torch.equal(raw["age"], torch.tensor([0.0, 30, 60, 120, 45]))
    unit = everything(Table(file, numbers=[("age", 0, 120)], range="unit"))
    assert torch.equal(unit["age"], torch.tensor([0.0, 0.25, 0.5, 1.0, 0.375]))


def test_classes_that_are_found_are_numbered_in_natural_order(tmp_path: Path) -> None:
    opened = Table(people(tmp_path), categories=[("job", 4)]).open()
    assert opened.meanings == {"job": ("9th clerk", "10th clerk", "baker, master", "cook")}
    assert opened.batch([1, 3], torch.Generator())["job"].tolist() == [2, 1]


def test_fields_say_shape_range_and_classes_before_anything_is_read() -> None:
    columns = {"numbers": [("age", 0, 120), ("income", 0, 9)], "categories": [CITIES, ("job", 12)]}
    alone = Table("nowhere.csv", **columns).fields
    assert [(name, f.shape, f.low, f.high) for name, f in alone.items()] == [
        ("age", (), -1, 1), ("income", (), -1, 1), ("city", (), 0, 2), ("job", (), 0, 11)
    ]  # fmt: skip
    grouped = Table("nowhere.csv", **columns, grouped=True, range="raw").fields
    assert [(name, f.shape, f.low, f.high, f.dtype) for name, f in grouped.items()] == [
        ("numbers", (2,), 0, 120, torch.float32), ("categories", (2,), 0, 11, torch.int64)
    ]  # fmt: skip


def test_grouped_columns_stand_side_by_side_and_a_stretch_is_taken(tmp_path: Path) -> None:
    table = Table(people(tmp_path), numbers=[("age", 0, 120)], categories=[CITIES, ("job", 4)], grouped=True)
    found = everything(table)
    assert torch.equal(found["categories"], torch.tensor([[0, 3], [1, 2], [2, 3], [1, 1], [0, 0]]))
    assert found["numbers"].shape == (5, 1)
    part = everything(Table(people(tmp_path), categories=[CITIES], first=1, count=2))
    assert part["city"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("age,city\n1,paris\n,rome\n", "people.csv:3: column 'age' has no value; expected a number from 0 to 120"),
        ("age,city\n1,paris\n2, \n", "people.csv:3: column 'city' has no value; expected one of paris, rome, oslo"),
        ("age,city\n1,paris\nold,rome\n", "people.csv:3: column 'age' holds 'old'; expected a number from 0 to 120"),
        ("age,city\n121,paris\n", "people.csv:2: column 'age' holds '121'; expected a number from 0 to 120"),
        ("age,city\nnan,paris\n", "people.csv:2: column 'age' holds 'nan'; expected a number from 0 to 120"),
        ("age,city\n1,pari\n", "holds 'pari'; expected one of paris, rome, oslo, as categories= declares; did you"),
        ("age,city\n1\n", "people.csv:2: has 1 columns; expected 2, as the first line"),
        ("age,town\n1,rome\n", "has no column 'city'; there are age, town"),
        ("age,age,city\n1,1,rome\n", "has more than one column 'age'; there are age, age, city"),
        ("", "has no column 'age'; the file is empty"),
        ("age,city\n", "holds 0 samples, too few"),
        ('age,city\n1,"rome\n', "is not a readable CSV file in UTF-8: "),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_told_with_row_and_column(tmp_path: Path, text: str, message: str) -> None:
    table = Table(people(tmp_path, text), numbers=[("age", 0, 120)], categories=[CITIES])
    with pytest.raises(DataError) as caught:
        table.open()
    assert message in str(caught.value)


def test_another_number_of_classes_than_declared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds 4 classes: 9th clerk, 10th clerk, .*; expected 5, as categories="):
        Table(people(tmp_path), categories=[("job", 5)]).open()


@pytest.mark.parametrize(
    ("arguments", "argument", "expected"),
    [
        ({"numbers": [("age", 120, 0)]}, "numbers", "name, least and greatest"),
        ({"numbers": [("age", 0, True)]}, "numbers", "name, least and greatest"),
        ({"categories": [("city", 1)]}, "categories", "from 2 to 1024 classes"),
        ({"categories": [("city", "a", "a")]}, "categories", "each class once"),
        ({"numbers": [("age", 0, 1)], "categories": [("age", 2)]}, "categories", "each column once"),
        ({"numbers": [("age in years", 0, 1)]}, "numbers", "or grouped=true"),
        ({}, "numbers", "a column at least"),
        ({"numbers": [("age", 0, 1)], "separator": ";;"}, "separator", "a character"),
    ],
)
def test_columns_that_make_no_sense_are_refused(arguments: dict[str, object], argument: str, expected: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        Table("people.csv", **arguments)  # type: ignore[arg-type]
    assert caught.value.argument == argument
    assert expected in str(caught.value)


def test_a_parquet_file_reads_like_a_csv_file_or_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = people(tmp_path, "PAR1", "people.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"needs the package pyarrow: pip install 'gangraph\[parquet\]'"):
        Table(file, numbers=[("age", 0, 120)]).open()
    monkeypatch.undo()
    arrow = pytest.importorskip("pyarrow")
    with pytest.raises(DataError, match="is not a readable Parquet file"):
        Table(file, numbers=[("age", 0, 120)]).open()
    rows = {"age": [0, 30, 60], "city": ["paris", "oslo", "rome"], "more": [1.5, None, 2.0]}
    pytest.importorskip("pyarrow.parquet").write_table(arrow.table(rows), file)
    found = everything(Table(file, numbers=[("age", 0, 120)], categories=[CITIES]))
    assert torch.equal(found["age"], torch.tensor([-1.0, -0.5, 0.0]))
    assert found["city"].tolist() == [0, 2, 1]
    with pytest.raises(DataError, match=r"people\.parquet:2: column 'more' has no value; expected a number"):
        Table(file, numbers=[("more", 0, 2)]).open()


def test_several_arrays_of_one_file_are_fields_of_one_sample(tmp_path: Path) -> None:
    waves, kinds = np.arange(24, dtype=np.float32).reshape(4, 1, 6), np.arange(4)
    pictures = np.full((4, 2, 2, 3), 255, np.uint8)
    file = str(tmp_path / "all.npz")
    np.savez(file, wave=waves, picture=pictures, kind=kinds)
    source = Npz(file, key=("wave", "picture"), shape=((1, 6), (3, 2, 2)), range=("raw", "tanh"), labels="kind")
    found = source.open().batch([2, 0], torch.Generator())
    assert {name: field.shape for name, field in source.fields.items()} == {
        "wave": (1, 6), "picture": (3, 2, 2), "label": ()
    }  # fmt: skip
    assert torch.equal(found["wave"], torch.from_numpy(waves[[2, 0]]))
    assert torch.equal(found["picture"], torch.ones(2, 3, 2, 2))
    assert found["label"].tolist() == [2, 0]
    np.savez(file, wave=waves, picture=pictures[:3], kind=kinds)
    with pytest.raises(DataError, match=r"numbers of samples of .* differ: 4 in wave, 3 in picture"):
        source.open()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"key": ("a", "b"), "shape": (3, 4, 5)}, "a list with an entry for each of the 2 names in key"),
        ({"key": ("a", "b"), "shape": (3, 4)}, "a list such as"),
        ({"key": ("a", "a"), "shape": ((3,), (4,))}, "names that differ"),
        ({"key": ("a", "b c"), "shape": ((3,), (4,))}, "of letters, digits and _"),
        ({"key": (), "shape": ()}, "or a list of names"),
        ({"key": ("a", "b"), "shape": ((1, 2, 3, 3), (4,)), "frames": 2}, "one key, since frames= makes clips"),
    ],
)
def test_arrays_that_are_declared_wrongly_are_refused(arguments: dict[str, object], expected: str) -> None:
    with pytest.raises(ArgumentError, match=expected):
        Npz("x.npz", **arguments)  # type: ignore[arg-type]


# Spectra


def test_a_spectrum_is_the_sum_that_the_page_says() -> None:
    x = torch.randn(2, 3, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    size, hop = 8, 5
    found = stft(x, size, hop)
    padded = functional.pad(x, (size // 2, size // 2), mode="reflect")
    k = torch.arange(size, dtype=torch.float64)
    weights = 0.5 - 0.5 * torch.cos(2 * torch.pi * k / size)
    assert found.shape == (2, 3, size // 2 + 1, 1 + 40 // hop)
    for f in range(size // 2 + 1):
        turns = torch.polar(torch.ones(size, dtype=torch.float64), -2 * torch.pi * f * k / size)
        for m in range(1 + 40 // hop):
            expected = (weights * padded[..., m * hop : m * hop + size] * turns).sum(-1).abs()
            torch.testing.assert_close(found[..., f, m], expected)
    assert torch.equal(stft(x[:, 0], size, hop), found[:, 0])


def test_a_spectrum_of_silence_has_a_gradient_of_zero_and_a_second_one() -> None:
    silent = torch.zeros(1, 16, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(stft(silent, 8, 4).sum(), silent)
    assert torch.equal(slope, torch.zeros_like(slope))
    x = torch.randn(1, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda v: stft(v, 8, 4), x)


# Training, by every plan and by hand

ROWS = """
gangraph: 1
name: rows
data:
  people: table(file="{file}", numbers=[["age", 0, 120]], categories=[["city", "paris", "rome", "oslo"], ["job", 4]])
  z: normal(3)
networks:
  G:
    inputs: z
    parts: {{trunk: "linear(6), batch_norm, tanh", age: "linear(1), tanh", city: "linear(3), softmax"}}
    values: {{h: trunk(z)}}
    output: cat(age(h), city(h))
  D:
    inputs: [x, job]
    parts: {{jobs: "embedding(4, 2)", body: "linear(5), tanh, linear(1)"}}
    output: body(cat(x, jobs(job)))
values: {{real: "cat(reshape(people.age, 1), one_hot(people.city, 3))", fake: G(z)}}
losses:
  judge: logistic.critic(real=D(real, people.job), fake=D(fake, people.job))
  fool: logistic.generator(D(fake, people.job))
train:
  batch: 4
  length: 100 steps
  optimizers: {{g: "sgd(G, lr=0.1)", d: "sgd(D, lr=0.1)"}}
  step: [{{update: d, minimize: judge}}, {{update: g, minimize: fool}}]
"""


class RowGenerator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.Tanh())
        self.age, self.city = nn.Linear(6, 1), nn.Linear(6, 3)

    def forward(self, z: Tensor) -> Tensor:
        h = self.trunk(z)
        return torch.cat([torch.tanh(self.age(h)), torch.softmax(self.city(h), 1)], 1)


class RowCritic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.jobs = nn.Embedding(4, 2)
        self.body = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 1))

    def forward(self, x: Tensor, job: Tensor) -> Tensor:
        return self.body(torch.cat([x, self.jobs(job)], 1))


Step = Callable[[dict[str, Tensor], Tensor], dict[str, float]]


def by_hand(generator: nn.Module, critic: nn.Module) -> Step:
    """One step on a batch of rows, which draws z once for both updates."""
    g, d = (torch.optim.SGD(each.parameters(), lr=0.1) for each in (generator, critic))

    def step(rows: dict[str, Tensor], z: Tensor) -> dict[str, float]:
        city = functional.one_hot(rows["city"], 3).double()
        real, job = torch.cat([rows["age"].double()[:, None], city], 1), rows["job"]
        fake = generator(z)
        judge = (functional.softplus(-critic(real, job)) + functional.softplus(critic(fake.detach(), job))).mean()
        d.zero_grad()
        judge.backward()
        d.step()
        fool = functional.softplus(-critic(fake, job)).mean()
        g.zero_grad()
        fool.backward()
        g.step()
        return {"judge": judge.item(), "fool": fool.item()}

    return step


@pytest.mark.parametrize(("share", "merge"), PLANS, ids=NAMES)
def test_a_generator_of_rows_trains_as_by_hand(share: bool, merge: bool, tmp_path: Path) -> None:
    spec = read(ROWS.format(file=people(tmp_path)))
    engine = trainer(spec, share=share, merge=merge)
    networks: dict[str, nn.Module] = {"G": RowGenerator().double(), "D": RowCritic().double()}
    for name, network in networks.items():
        copy_parameters(engine.networks[name], network)
    step, opened = by_hand(networks["G"], networks["D"]), Table(**_arguments(tmp_path)).open()
    random, started, found = torch.Generator().manual_seed(1), snapshot(networks), {}
    for number in range(STEPS):
        rows = dict(opened.batch(torch.randint(5, (4,), generator=random).tolist(), random))
        z = torch.randn(4, 3, generator=random, dtype=torch.float64)
        losses, expected = engine.step({"people": rows, "z": z}), step(rows, z)
        assert losses.keys() == expected.keys()
        found |= {f"{name} of step {number}": deviation(losses[name], expected[name]) for name in expected}
    found |= dict(parameter_deviations(engine, networks, started, still=1e-9))
    for own, theirs in zip(networks["G"].buffers(), engine.networks["G"].buffers(), strict=True):
        found["buffer"] = max(found.get("buffer", 0.0), deviation(theirs.double(), own.double()))
    assert {name: d for name, d in found.items() if not d <= 1e-9} == {}


def _arguments(folder: Path) -> dict[str, object]:
    return {"file": str(folder / "people.csv"), "numbers": [("age", 0, 120)], "categories": [CITIES, ("job", 4)]}


SPECTRA = """
gangraph: 1
name: sounds
data:
  sound: npz("{file}", key=["wave", "other"], shape=[[1, 32], [1, 32]], range="raw")
networks:
  G: {{inputs: x, layers: "conv1d(4, 5, padding=2), instance_norm, tanh, conv1d(1, 5, padding=2)"}}
  F: {{inputs: x, layers: "conv1d(4, 5, padding=2), tanh, conv1d(1, 5, padding=2)"}}
values: {{made: G(sound.wave), back: F(made)}}
losses:
  spectral: l1(stft(made, 8, 4), stft(sound.other, 8, 4)) + flat
  flat: l2(stft(made, 16, 4, window="none"), stft(sound.other, 16, 4, window="none"))
  cycle: l1(stft(back, 8, 4), stft(sound.wave, 8, 4)) + l1(back, sound.wave)
train:
  batch: 3
  length: 100 steps
  optimizers: {{g: "sgd(G, lr=0.05)", f: "sgd(F, lr=0.05)"}}
  step: [{{update: g, minimize: spectral + 0.1 * cycle}}, {{update: f, minimize: cycle}}]
"""


def _translator(norm: bool) -> nn.Module:
    layers = [nn.Conv1d(1, 4, 5, padding=2), *([nn.InstanceNorm1d(4)] if norm else []), nn.Tanh()]
    return nn.Sequential(*layers, nn.Conv1d(4, 1, 5, padding=2)).double()


def _magnitudes(x: Tensor, size: int, window: Tensor) -> Tensor:
    return torch.stft(x.flatten(0, 1), size, 4, size, window, return_complex=True).abs()


@pytest.mark.parametrize(("share", "merge"), PLANS, ids=NAMES)
def test_two_series_with_a_spectral_loss_train_as_by_hand(share: bool, merge: bool) -> None:
    engine = trainer(read(SPECTRA.format(file="sounds.npz")), share=share, merge=merge)
    networks = {"G": _translator(norm=True), "F": _translator(norm=False)}
    for name, network in networks.items():
        copy_parameters(engine.networks[name], network)
    forth, back = networks["G"], networks["F"]
    g, f = (torch.optim.SGD(each.parameters(), lr=0.05) for each in (forth, back))
    random, started, found = torch.Generator().manual_seed(1), snapshot(networks), {}
    hann, flat = torch.hann_window(8, dtype=torch.float64), torch.ones(16, dtype=torch.float64)
    for number in range(STEPS):
        x, y = (torch.randn(3, 1, 32, generator=random, dtype=torch.float64) for _ in "xy")
        losses = engine.step({"sound": {"wave": x, "other": y}})
        for update in (g, f):
            made = forth(x)
            again = back(made)
            spectral = (_magnitudes(made, 8, hann) - _magnitudes(y, 8, hann)).abs().mean()
            spectral = spectral + ((_magnitudes(made, 16, flat) - _magnitudes(y, 16, flat)) ** 2).mean()
            cycle = (_magnitudes(again, 8, hann) - _magnitudes(x, 8, hann)).abs().mean() + (again - x).abs().mean()
            if update is g:
                found[f"spectral of step {number}"] = deviation(losses["spectral"], spectral.detach())
            else:
                found[f"cycle of step {number}"] = deviation(losses["cycle"], cycle.detach())
            for each in networks.values():
                each.zero_grad()
            (spectral + 0.1 * cycle if update is g else cycle).backward()
            update.step()
    found |= dict(parameter_deviations(engine, networks, started, still=1e-9))
    assert {name: d for name, d in found.items() if not d <= 1e-9} == {}


# Going on


def test_a_run_over_a_table_resumes_to_the_bit_and_keeps_its_classes(tmp_path: Path) -> None:
    spec = read(ROWS.format(file=people(tmp_path)))
    unbroken = trained(spec, 7)
    trained(spec, 3).save(tmp_path / "saved")
    resumed = Trainer.resume(tmp_path / "saved", device="cpu")
    resumed.train(steps=4)
    assert same(snapshot(unbroken.networks), snapshot(resumed.networks))
    resumed.save(tmp_path / "again")
    people(tmp_path, PEOPLE.replace("cook", "artist"))
    changed = Trainer.resume(tmp_path / "again", device="cpu")
    expected = r"data 'people': the number 2 of 'job' stands for 'artist'; expected 'baker, master', as when"
    with pytest.raises(DataError, match=expected):
        changed.train(steps=1)


def test_fixed_rows_state_their_classes_too(tmp_path: Path) -> None:
    source = fixed(Table(people(tmp_path), categories=[CITIES, ("job", 4)]))
    assert isinstance(source, FixedStream)
    assert finds(source) == ("job",)
    assert meanings(source.open())["city"] == CITIES[1:]


def trained(spec: Spec, steps: int) -> Trainer:
    made = Trainer(spec, device="cpu", precision="fp32")
    made.train(steps=steps)
    return made


def test_listed_classes_may_be_listed_in_both_files_without_a_warning(tmp_path: Path) -> None:
    text = ROWS.format(file=people(tmp_path)) + 'evaluate:\n  data: {other: data.people(file="test.csv")}\n'
    text += '  metrics: {right: "l1(other.age, column(G(z), 0))"}\n'
    assert [lint.code for lint in check_spec(read(text))[0].lints] == ["GG670"]
    listed = text.replace('["job", 4]', '["job", "cook", "baker", "9th clerk", "10th clerk"]')
    assert [lint.code for lint in check_spec(read(listed))[0].lints] == []
