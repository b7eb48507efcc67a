"""Recurrent layers and captions: values by hand and by torch, training by every plan, files, errors and resume."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from gangraph import Trainer
from gangraph.data.captions import Captions, encoded
from gangraph.data.fixed import FixedStream, fixed
from gangraph.data.world.caption import VOCABULARY, sentence
from gangraph.data.world.source import World
from gangraph.errors import ArgumentError, DataError
from gangraph.session.run import run
from gangraph.session.sample import sample
from gangraph.vocabulary.recurrent import ConvLstm, Gru, Lstm
from gangraph.vocabulary.series import last, lengths
from tests.support import copy_parameters, deviation, normals, parameter_deviations, read, same, snapshot, trainer
from tests.test_language_pages import whole_specs

STEPS = 20
PLANS = [(True, True), (False, True), (True, False), (False, False)]
NAMES = ["as planned", "merged", "shared", "plain"]

# Layers


@pytest.mark.parametrize(("own", "theirs"), [(Lstm, nn.LSTM), (Gru, nn.GRU)])
@pytest.mark.parametrize(("layers", "both"), [(1, False), (2, False), (1, True), (2, True)])
def test_a_recurrent_layer_is_the_one_of_torch(
    own: type[Lstm] | type[Gru], theirs: type[nn.LSTM] | type[nn.GRU], layers: int, both: bool
) -> None:
    made = own(3, 5, layers, both).double()
    torchs = theirs(3, 5, layers, bidirectional=both, batch_first=True).double()
    torchs.load_state_dict(made.state_dict())
    (x,) = normals(1, 4, 7, 3)
    found, (expected, _) = made(x), torchs(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)
    slopes = [
        torch.autograd.grad(each.square().sum(), tuple(m.parameters()))
        for each, m in ((found, made), (expected, torchs))
    ]
    for mine, other in zip(*slopes, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-12)


def test_a_recurrent_layer_starts_within_the_bound_of_torch() -> None:
    values = torch.cat([p.detach().flatten() for p in Lstm(40, 25).parameters()])
    assert 0.199 < values.abs().max() <= 0.2


def test_a_convolutional_lstm_is_its_formula() -> None:
    layer = ConvLstm(2, 3, 3).double()
    (x,) = normals(1, 2, 4, 2, 5, 6)
    h = c = torch.zeros(2, 3, 5, 6, dtype=torch.float64)
    for t in range(4):
        gates = functional.conv2d(x[:, t], layer.from_input.weight, layer.from_input.bias, padding=1)
        i, f, g, o = (gates + functional.conv2d(h, layer.from_state.weight, padding=1)).split(3, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        torch.testing.assert_close(layer(x)[:, t], h, rtol=0, atol=1e-14)


@pytest.mark.parametrize("layer", [Lstm(2, 2), Gru(2, 2)], ids=["lstm", "gru"])
def test_a_recurrent_layer_has_a_second_gradient(layer: nn.Module) -> None:
    (x,) = normals(1, 1, 3, 2)
    assert torch.autograd.gradgradcheck(layer.double(), x.requires_grad_())


def test_the_last_step_is_that_of_each_length() -> None:
    x = torch.arange(24.0).reshape(2, 4, 3)
    tokens = torch.tensor([[5, 1, 0, 0], [7, 4, 9, 1]])
    assert lengths(tokens).tolist() == [2, 4]
    assert torch.equal(last(x, lengths(tokens)), torch.stack([x[0, 1], x[1, 3]]))
    assert torch.equal(last(x), x[:, 3])
    assert torch.equal(last(x, torch.tensor([0, 9])), torch.stack([x[0, 0], x[1, 3]]))


# Captions


LINES = {
    "1": "A red bird.\nIt isn't blue\n",
    "2": "a blue fish",
    "9": "a red fish\n\nsome very long caption of a fish\n",
}


def photos(folder: Path, texts: dict[str, str] = LINES) -> str:
    for number, (name, text) in enumerate(texts.items()):
        Image.fromarray(np.full((4, 4, 3), 10 * number, np.uint8)).save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text(text)
    return str(folder)


def said(opened: object, tokens: Tensor) -> list[str]:
    words = opened.meanings["caption"]  # type: ignore[attr-defined]
    return [" ".join(words[t] for t in row if t) for row in tokens.tolist()]


def test_captions_are_tokens_of_words_by_frequency(tmp_path: Path) -> None:
    source = Captions(photos(tmp_path), size=4, vocabulary=20, length=8)
    opened = source.open()
    assert opened.meanings["caption"][:6] == ("<pad>", "<end>", "<unk>", "a", "fish", "blue")
    drawn = opened.batch([0, 1, 2] * 40, torch.Generator().manual_seed(0))
    assert {name: (t.shape[1:], t.dtype) for name, t in drawn.items()} == {
        name: (torch.Size(field.shape), field.dtype) for name, field in source.fields.items()
    }
    found = said(opened, drawn["caption"])
    own = [{"a red bird . <end>", "it isn't blue <end>"}, {"a blue fish <end>"},
           {"a red fish <end>", "some very long caption of a fish <end>"}]  # fmt: skip
    for image in range(3):
        assert set(found[image::3]) == own[image]
        others = set(said(opened, drawn["mismatch"][image::3]))
        assert others == set.union(*own) - own[image]
    assert opened.notes == []
    assert torch.equal(drawn["image"][:3, 0, 0, 0], torch.tensor([0, 10, 20]) / 127.5 - 1)


def test_more_images_begin_with_the_captions_of_fewer(tmp_path: Path) -> None:
    source = fixed(Captions(photos(tmp_path), resize=4, crop=2, flip=True, vocabulary=20, length=8))
    assert isinstance(source, FixedStream)
    few, many = (source.open().batch(range(count), torch.Generator()) for count in (2, 9))
    assert all(torch.equal(few[name], many[name][:2]) for name in source.fields)


def test_a_caption_that_two_images_share_is_no_mismatch(tmp_path: Path) -> None:
    texts = {"1": "a bird", "2": "a bird\na fish", "3": "a fish", "4": "a dog"}
    opened = Captions(photos(tmp_path, texts), size=4, vocabulary=10, length=4).open()
    drawn = opened.batch([0, 2] * 20, torch.Generator().manual_seed(0))
    assert set(said(opened, drawn["mismatch"][::2])) == {"a fish <end>", "a dog <end>"}
    assert set(said(opened, drawn["mismatch"][1::2])) == {"a bird <end>", "a dog <end>"}
    with pytest.raises(DataError, match=r"every caption is one of '.*2\.png'; expected one that does not belong"):
        Captions(photos(tmp_path, {"1": "a bird", "2": "a bird\na fish", "3": "a fish", "4": "a bird"}), size=4,
                 vocabulary=10, length=4).open()  # fmt: skip


def test_what_is_cut_and_unknown_is_said_or_refused(tmp_path: Path) -> None:
    folder = photos(tmp_path)
    words = ("a", "red", "blue", "fish", "bird")
    with pytest.raises(DataError, match=r"1\.txt:1: the word '\.' is not in the vocabulary; unknown='<unk>' takes"):
        Captions(folder, size=4, vocabulary=words, length=8).open()
    with pytest.raises(DataError, match=r"the captions hold 13 different words; expected at most 2; unknown="):
        Captions(folder, size=4, vocabulary=5, length=8).open()
    with pytest.raises(DataError, match=r"9\.txt:3: a caption of 7 words and <end>; expected at most 6 tokens"):
        Captions(folder, size=4, vocabulary=20, length=6).open()
    opened = Captions(folder, size=4, vocabulary=words, length=6, unknown="<unk>", longer="cut").open()
    assert opened.notes == ["different words that are taken as <unk>: 8", "captions that are cut after 5 words: 1"]
    found = said(opened, opened.batch([2] * 20, torch.Generator().manual_seed(0))["caption"])
    assert set(found) == {"a red fish <end>", "<unk> <unk> <unk> <unk> <unk> <end>"}


def test_captions_may_be_read_by_characters(tmp_path: Path) -> None:
    known = "abcdefghijklmnopqrstuvwxyz '."
    source = Captions(photos(tmp_path), size=4, vocabulary=known, length=40, by="characters")
    opened = source.open()
    assert opened.meanings["caption"] == ("<pad>", "<end>", "<unk>", *known)
    rows = opened.batch([0] * 20, torch.Generator().manual_seed(0))["caption"]
    texts = {"".join(opened.meanings["caption"][t] for t in row if t) for row in rows.tolist()}
    assert texts == {"a red bird.<end>", "it isn't blue<end>"}
    found = Captions(photos(tmp_path), size=4, vocabulary=40, length=40, by="characters").open().meanings["caption"]
    assert found[3] == " " and set(found[3:]) <= set(known)
    with pytest.raises(DataError, match=r"the character '\.' is not in the vocabulary"):
        Captions(photos(tmp_path), size=4, vocabulary=known[:-1], length=40, by="characters").open()


def test_a_sentence_of_ones_own_is_encoded_as_captions_are(tmp_path: Path) -> None:
    for by in ("words", "characters"):
        source = Captions(
            photos(tmp_path, {"1": "It isn't  a Fish.", "2": "a"}), size=4, vocabulary=40, length=30, by=by
        )
        opened = source.open()
        known = opened.meanings["caption"]
        row = opened.batch([0], torch.Generator())["caption"][0]
        assert torch.equal(encoded("it isn't a fish .".replace(" .", "." if by == "characters" else " ."),
                                   source.fields["caption"], known), row)  # fmt: skip


def test_an_unknown_word_is_an_error_with_the_nearest() -> None:
    field = World(view="tokens").fields["value"]
    with pytest.raises(DataError, match=r"the word 'redd' is not in the vocabulary of the run; did you mean 'red'"):
        encoded("a small redd star", field, VOCABULARY)
    with pytest.raises(DataError, match="has 20 words; expected 1 to 19"):
        encoded("a " * 20, field, VOCABULARY)
    with pytest.raises(DataError, match="has 0 words"):
        encoded(" ", field, VOCABULARY)
    with pytest.raises(DataError, match="the word '<' is not"):
        encoded("<pad>", field, VOCABULARY)


def test_captions_of_a_table_belong_to_their_files(tmp_path: Path) -> None:
    folder, table = photos(tmp_path), tmp_path / "captions.csv"
    table.write_text('file,caption\n2.png,"blue, small"\n1.png,red\n1.png,a bird\n9.png,green\n')
    opened = Captions(folder, table=str(table), size=4, vocabulary=20, length=5).open()
    found = said(opened, opened.batch([0, 1, 2] * 20, torch.Generator().manual_seed(0))["caption"])
    assert [set(found[image::3]) for image in range(3)] == [
        {"red <end>", "a bird <end>"}, {"blue , small <end>"}, {"green <end>"}
    ]  # fmt: skip
    table.write_text("file,caption\n2.png,blue\n1.jpg,red\n")
    with pytest.raises(DataError, match=r"captions\.csv:3: there is no image '1\.jpg' in '.*'; did you mean '1\.png'"):
        Captions(folder, table=str(table), size=4, vocabulary=20, length=5).open()
    table.write_text("file,caption\n2.png,blue\n1.png,\n")
    with pytest.raises(DataError, match=r"captions\.csv:3: column 'caption' has no value"):
        Captions(folder, table=str(table), size=4, vocabulary=20, length=5).open()
    table.write_text("file,caption\n2.png,blue\n1.png,red\n")
    with pytest.raises(DataError, match=r"9\.png' has no caption in '"):
        Captions(folder, table=str(table), size=4, vocabulary=20, length=5).open()


def test_an_image_without_captions_is_named(tmp_path: Path) -> None:
    folder = photos(tmp_path)
    (tmp_path / "2.txt").write_text("\n \n")
    with pytest.raises(DataError, match=r"2\.txt' is empty; expected a caption on each line"):
        Captions(folder, size=4, vocabulary=20, length=8).open()
    (tmp_path / "2.txt").unlink()
    with pytest.raises(DataError, match=r"2\.png' has no captions: there is no '.*2\.txt'"):
        Captions(folder, size=4, vocabulary=20, length=8).open()


def test_captions_follow_their_image_where_another_is_passed_over(tmp_path: Path) -> None:
    folder = photos(tmp_path)
    (tmp_path / "2.png").write_bytes(b"no image")
    opened = Captions(folder, size=4, vocabulary=20, length=8, skip_corrupt=True).open()
    drawn = opened.batch([1], torch.Generator())
    assert torch.equal(drawn["image"], opened.batch([2], torch.Generator())["image"])
    assert said(opened, drawn["caption"])[0] in ("a red fish <end>", "some very long caption of a fish <end>")
    assert [Path(name).name for name in opened.skipped] == ["2.png"]


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"vocabulary": 3}, "vocabulary"), ({"vocabulary": ()}, "vocabulary"), ({"vocabulary": ("A",)}, "vocabulary"),
        ({"vocabulary": "ab"}, "vocabulary"), ({"vocabulary": "aa", "by": "characters"}, "vocabulary"),
        ({"vocabulary": ("ab",), "by": "characters"}, "vocabulary"), ({"by": "letters"}, "by"),
        ({"vocabulary": ("a", "a")}, "vocabulary"), ({"length": 1}, "length"), ({"longer": "cat"}, "longer"),
    ],
)  # fmt: skip
def test_arguments_of_captions_that_make_no_sense_are_refused(arguments: dict[str, object], argument: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        Captions("photos", **{"size": 4, "vocabulary": 20, "length": 8, **arguments})  # type: ignore[arg-type]
    assert caught.value.argument == argument


def test_the_sentences_of_the_world_state_their_words() -> None:
    opened = World(size=8, view=["tokens", "mismatch", "label"]).open()
    assert opened.meanings.keys() == {"tokens", "mismatch"}
    row = opened.batch([3])["tokens"][0]
    words = [opened.meanings["tokens"][t] for t in row.tolist()]
    assert " ".join(words[: int(lengths(row[None])) - 1]) == sentence(row)


# Training, by every plan and by hand

TEXT = """
gangraph: 1
name: captioned
data:
  pair: captions("{folder}", size=4, vocabulary=20, length=8)
  z: normal(2)
networks:
  T:
    inputs: words
    parts: {{vectors: "embedding(20, 3)", reader: "lstm(4, layers=2)"}}
    output: last(reader(vectors(words)), lengths(words))
  G: {{inputs: [z, text], parts: {{top: "linear(6), batch_norm, tanh, linear(48)"}}, output: "top(cat(z, text))"}}
  D: {{inputs: [x, text], parts: {{top: "linear(6), tanh, linear(1)"}}, output: "top(cat(flatten(x), text))"}}
values: {{text: T(pair.caption), fake: "G(z, text)"}}
losses:
  judge: logistic.critic(real=D(pair.image, text), fake=D(fake, text)) + wrong
  wrong: mean(softplus(D(pair.image, T(pair.mismatch))))
  fool: logistic.generator(D(fake, text))
train:
  batch: 3
  length: 100 steps
  optimizers: {{g: "sgd([G, T], lr=0.2)", d: "sgd(D, lr=0.2)"}}
  step: [{{update: d, minimize: judge}}, {{update: g, minimize: fool}}]
"""


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.vectors, self.reader = nn.Embedding(20, 3), nn.LSTM(3, 4, 2, batch_first=True)

    def forward(self, words: Tensor) -> Tensor:
        made = []
        for row in words:  # each sentence by itself, without its padding
            (states, _) = self.reader(self.vectors(row[row != 0][None]))
            made.append(states[0, -1])
        return torch.stack(made)


def networks_by_hand() -> dict[str, nn.Module]:
    top = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 48))
    critic = nn.Sequential(nn.Linear(52, 6), nn.Tanh(), nn.Linear(6, 1))
    return {"T": Reader().double(), "G": top.double(), "D": critic.double()}


def step_by_hand(networks: dict[str, nn.Module], pair: dict[str, Tensor], z: Tensor) -> dict[str, float]:
    """One step of plain gradient descent: the critic, then reader and generator."""
    reader, generator, critic = (networks[name] for name in "TGD")
    softplus, image = functional.softplus, pair["image"].double().flatten(1)
    text = reader(pair["caption"])
    fake = generator(torch.cat([z, text], 1))

    def score(x: Tensor, told: Tensor) -> Tensor:
        return critic(torch.cat([x, told], 1))

    wrong = softplus(score(image, reader(pair["mismatch"]).detach())).mean()
    judge = softplus(-score(image, text.detach())).mean() + softplus(score(fake.detach(), text.detach())).mean() + wrong
    descend(judge, [critic])
    fool = softplus(-score(fake, text)).mean()
    descend(fool, [generator, reader])
    return {"judge": judge.item(), "wrong": wrong.item(), "fool": fool.item()}


def descend(loss: Tensor, networks: list[nn.Module]) -> None:
    parameters = [p for network in networks for p in network.parameters()]
    for parameter, slope in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.data -= 0.2 * slope


@pytest.mark.parametrize(("share", "merge"), PLANS, ids=NAMES)
def test_a_generator_that_reads_several_captions_trains_as_by_hand(share: bool, merge: bool, tmp_path: Path) -> None:
    engine = trainer(read(TEXT.format(folder=photos(tmp_path))), share=share, merge=merge)
    networks = networks_by_hand()
    for name, network in networks.items():
        copy_parameters(engine.networks[name], network)
    random, started = torch.Generator().manual_seed(1), snapshot(networks)
    found = dict(_losses(engine, networks, tmp_path, random))
    found |= dict(parameter_deviations(engine, networks, started, still=1e-9))
    for (name, own), theirs in zip(networks["G"].named_buffers(), engine.networks["G"].buffers(), strict=True):
        found[name] = deviation(theirs.double(), own.double())
    assert {name: d for name, d in found.items() if not d <= 1e-9} == {}


def _losses(
    engine: Trainer, networks: dict[str, nn.Module], folder: Path, random: torch.Generator
) -> Iterator[tuple[str, float]]:
    opened = Captions(str(folder), size=4, vocabulary=20, length=8).open()
    for number in range(STEPS):
        pair = dict(opened.batch([0, 1, 2], random))
        z = torch.randn(3, 2, generator=random, dtype=torch.float64)
        losses, expected = engine.step({"pair": pair, "z": z}), step_by_hand(networks, pair, z)
        assert losses.keys() == expected.keys()
        yield from ((f"{name} of step {number}", deviation(losses[name], expected[name])) for name in expected)


PATHS = """
gangraph: 1
name: paths
data: {x: "normal(5, 2)", z: "normal(5, 3)"}
networks:
  G: {inputs: z, layers: "gru(4, bidirectional=true), linear(2)"}
  D: {inputs: x, parts: {reader: lstm(4), top: "spectral_norm(linear(1))"}, output: top(last(reader(x)))}
values: {fake: G(z), mix: "lerp(x, fake, 0.5)"}
losses:
  judge: mean(D(fake)) - mean(D(x)) + mean((norm(grad(D(mix), mix)) - 1) ** 2)
  fool: -mean(D(fake))
train:
  batch: 3
  length: 100 steps
  optimizers: {g: "sgd(G, lr=0.2)", d: "sgd(D, lr=0.2)"}
  step: [{update: d, minimize: judge}, {update: g, minimize: fool}]
"""


def test_a_penalty_through_an_lstm_trains_alike_by_every_plan() -> None:
    runs = [trainer(read(PATHS), share=share, merge=merge) for share, merge in PLANS]
    for _ in range(STEPS):
        losses = [each.step() for each in runs]
        assert max(deviation(each[name], losses[0][name]) for each in losses for name in each) <= 1e-9
    for another in runs[1:]:
        mine, other = (snapshot(each.networks) for each in (runs[0], another))
        assert max(deviation(other[name], mine[name]) for name in mine) <= 1e-9


class PathCritic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.reader, self.top = nn.LSTM(2, 4, batch_first=True), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.top(self.reader(x)[0][:, -1])


def test_a_penalty_through_an_lstm_trains_as_by_hand() -> None:
    engine = trainer(read(PATHS.replace("spectral_norm(linear(1))", "linear(1)")))
    reader = nn.GRU(3, 4, bidirectional=True, batch_first=True).double()
    head = nn.Linear(8, 2).double()
    networks = {"G": nn.ModuleList([reader, head]), "D": PathCritic().double()}
    for name, network in networks.items():
        copy_parameters(engine.networks[name], network)
    critic, found = networks["D"], {}
    random, started = torch.Generator().manual_seed(1), snapshot(networks)
    for number in range(STEPS):
        x = torch.randn(3, 5, 2, generator=random, dtype=torch.float64)
        z = torch.randn(3, 5, 3, generator=random, dtype=torch.float64)
        losses = engine.step({"x": x, "z": z})
        fake = head(reader(z)[0])
        mix = (x + 0.5 * (fake - x)).detach().requires_grad_()
        (slope,) = torch.autograd.grad(critic(mix).sum(), mix, create_graph=True)
        judge = critic(fake.detach()).mean() - critic(x).mean() + ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
        descend(judge, [critic])
        fool = -critic(fake).mean()
        descend(fool, [reader, head])
        for name, loss in (("judge", judge), ("fool", fool)):
            found[f"{name} of step {number}"] = deviation(losses[name], loss.item())
    found |= dict(parameter_deviations(engine, networks, started, still=1e-9))
    assert {name: d for name, d in found.items() if not d <= 1e-9} == {}


class NextFrame(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.read, self.top = ConvLstm(1, 8, 3), nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, clip: Tensor) -> Tensor:
        return torch.stack([torch.tanh(self.top(h)) for h in self.read(clip).unbind(1)], 1)


TIME = whole_specs((Path(__file__).parent.parent / "docs/language/time.md").read_text())
CLIPS = next(text for text in TIME if "name: clips" in text)


def test_a_network_of_clips_trains_as_by_hand_and_goes_on_from_its_own_output() -> None:
    engine, network = trainer(read(CLIPS)), NextFrame().double()
    with torch.no_grad():
        for mine, other in zip(network.parameters(), engine.networks["P"].parameters(), strict=True):
            mine.copy_(other.view_as(mine))
    optimizer, found = torch.optim.Adam(network.parameters(), lr=1e-3), {}
    clips = World(size=16, view="clip", frames=6, channels=1).open()
    for number in range(STEPS):
        x = clips.batch(range(4 * number, 4 * number + 4))["value"].double()
        losses = engine.step({"x": x})
        made = network(x)
        error = torch.stack([(made[:, k] - x[:, k + 1]).abs().mean() for k in range(5)]).sum()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        found[f"error of step {number}"] = deviation(losses["error"], error.item())
    assert {name: d for name, d in found.items() if not d <= 1e-9} == {}


def test_a_recursion_of_clips_is_an_animation(tmp_path: Path) -> None:
    spec = read(CLIPS.replace("length: 10 steps", "length: 2 steps"))
    folder = run(spec, out=tmp_path / "run")
    with Image.open(sample(folder, name="future")) as shown:
        assert (getattr(shown, "n_frames", 1), shown.info["duration"]) == (18, 160)


def test_a_run_over_captions_resumes_to_the_bit_and_keeps_its_words(tmp_path: Path) -> None:
    spec = read(TEXT.format(folder=photos(tmp_path)))
    unbroken, broken = (Trainer(spec, device="cpu", precision="fp32") for _ in "ab")
    unbroken.train(steps=7)
    broken.train(steps=3)
    broken.save(tmp_path / "saved")
    resumed = Trainer.resume(tmp_path / "saved", device="cpu")
    resumed.train(steps=4)
    assert same(snapshot(unbroken.networks), snapshot(resumed.networks))
    photos(tmp_path, {**LINES, "2": "an azure fish"})
    changed = Trainer.resume(tmp_path / "saved", device="cpu")
    with pytest.raises(
        DataError, match=r"data 'pair': the number 5 of 'caption' stands for 'red'; expected 'blue', as"
    ):
        changed.train(steps=1)
