"""Pretrained networks in training: written as gangraph's own, with torchvision's weights, and its outputs."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision.models import get_model

import gangraph
from gangraph import Trainer
from gangraph.check.phase import Checked
from gangraph.cli import main
from gangraph.errors import WeightsError
from gangraph.language.document.library import pretrained
from gangraph.language.resolve.names_table import names_table, their_name
from gangraph.pipeline import check_spec
from gangraph.vocabulary.imagenet import BACKBONES
from gangraph.vocabulary.pretrained import normalised
from tests.metrics.shared import WEIGHTS, needs_shared
from tests.support import read, worst

SPEC = """
gangraph: 1
name: small
data: {{x: 'world(size={size}, view=["image"])', z: normal(2)}}
networks:
  G: mlp(widths=[4], outputs=3 * {size} * {size})
  V: {network}
values: {{fake: "reshape(tanh(G(z)), 3, {size}, {size})"}}
losses: {{close: "{loss}"}}
train:
  batch: 2
  length: 2 steps
  optimizers: {{g: "sgd(G, lr=0.1)"}}
  step: [{{update: g, minimize: close}}]
"""
SIZES = {
    "vgg16": 138_357_544, "vgg19": 143_667_240, "alexnet": 61_100_840, "resnet50": 25_557_032,
    "inception_v3": 23_834_568,
}  # fmt: skip
ELSEWHERE = {"normalised_vgg19"}  # whose weights torchvision does not have
SMALLEST = {"inception_v3": 75}  # pixels of a side, else 64


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights, and no way to get any."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("GANGRAPH_WEIGHTS", raising=False)
    monkeypatch.delenv("GANGRAPH_DOWNLOAD", raising=False)
    monkeypatch.chdir(tmp_path)


def text(network: str, *outputs: str, size: int = 64) -> str:
    """A spec that compares fakes and data by some outputs of a network."""
    loss = " + ".join(f"l2(V(fake).{name}, V(x).{name})" for name in outputs)
    return SPEC.format(network=network, loss=loss, size=size)


def checked(network: str, *outputs: str, size: int = 64) -> Checked:
    (phase,) = check_spec(read(text(network, *outputs, size=size)))
    return phase


def shapes(module: nn.Module) -> Mapping[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def theirs_of(name: str) -> nn.Module:
    """Torchvision's network, without a classifier that only training reads."""
    made: nn.Module = get_model(name, **({"aux_logits": False, "init_weights": True} if "inception" in name else {}))
    return made


def taken(name: str, x: Tensor) -> Tensor:
    """Images in [-1, 1] as torchvision's network takes them: as they are, or normalised."""
    return x if "inception" in name else normalised(x)


def meta(name: str) -> nn.Module:
    with torch.device("meta"):
        return theirs_of(name)


def test_every_pretrained_network_has_a_table_and_a_file_and_its_published_size() -> None:
    assert pretrained().keys() == BACKBONES.keys() == SIZES.keys() | ELSEWHERE


@pytest.mark.parametrize("name", SIZES)
def test_its_tensors_are_those_of_torchvision_by_the_table_of_names(name: str) -> None:
    model = checked(f'pretrained("{name}")', "logits", size=SMALLEST.get(name, 64)).networks["V"]
    table = names_table(pretrained()[name])
    assert model.parameters == SIZES[name]
    assert {their_name(path, table): shape for path, shape in shapes(model.module).items()} == shapes(meta(name))


VGG16 = ("relu1_1", "relu2_2", "pool2", "relu3_3", "relu4_2", "relu5_3", "pool5")
VGG19 = ("relu1_2", "relu2_2", "relu3_4", "pool3", "relu4_4", "relu5_1", "relu5_4", "pool5")
PLACES = {
    "vgg16": dict(zip(VGG16, (1, 8, 9, 15, 20, 29, 30), strict=True)),
    "vgg19": dict(zip(VGG19, (3, 8, 17, 18, 26, 29, 35, 36), strict=True)),
    "alexnet": {"relu1": 1, "pool1": 2, "relu2": 4, "pool2": 5, "relu3": 7, "relu4": 9, "relu5": 11, "pool5": 12},
}


def loaded(name: str, theirs: nn.Module, *outputs: str, size: int = 64) -> nn.Module:
    """Our network with the weights of torchvision's."""
    model = checked(f'pretrained("{name}")', *outputs, size=size).networks["V"]
    table, state = names_table(pretrained()[name]), {}
    for path in model.module.state_dict():
        state[path] = theirs.state_dict()[their_name(path, table)]
    module = model.module.to_empty(device="cpu")
    module.load_state_dict(state)
    return module.eval()


def images(count: int = 2, size: int = 64) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


@torch.no_grad()
@pytest.mark.parametrize("name", PLACES)
def test_layers_of_convolutions_give_what_torchvision_s_give(name: str) -> None:
    torch.manual_seed(0)
    theirs = nn.ModuleDict({"features": get_model(name).features}).eval()
    found, flow, made = loaded(name, theirs, *PLACES[name])(images()), normalised(images()), {}
    for index, layer in enumerate(theirs["features"]):  # type: ignore[arg-type]  # a Sequential
        flow = layer(flow)
        made |= {output: flow.clone() for output, place in PLACES[name].items() if place == index}
    assert found.keys() == made.keys()
    assert worst(float((found[each] - made[each]).abs().max() / made[each].abs().max()) for each in made) <= 1e-6


@torch.no_grad()
@pytest.mark.parametrize("name", ["alexnet", "resnet50", "inception_v3"])
def test_logits_are_torchvision_s(name: str) -> None:
    torch.manual_seed(0)
    theirs, size = theirs_of(name).eval(), SMALLEST.get(name, 64)
    for part in theirs.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
    x = images(size=size)
    found, expected = loaded(name, theirs, "logits", size=size)(x)["logits"], theirs(taken(name, x))
    assert float((found - expected).abs().max() / expected.abs().max()) <= 1e-6


def test_rounding_is_no_other_range() -> None:
    loss = "l2(V(0.299 * x + 0.587 * x + 0.114 * x).relu1_1, V(fake).relu1_1)"
    for written, codes in ((loss, []), (loss.replace("0.114", "0.113"), ["GG640"])):
        (phase,) = check_spec(read(SPEC.format(network='pretrained("vgg16")', loss=written, size=64)))
        assert [lint.code for lint in phase.lints] == codes


@torch.no_grad()
def test_a_param_takes_averages_in_place_of_maxima() -> None:
    torch.manual_seed(0)
    theirs = nn.ModuleDict({"features": get_model("vgg16").features})
    (phase,) = check_spec(read(text('pretrained("vgg16", pool=avg_pool2d(2), outputs=["pool2"])', "pool2")))
    names = names_table(pretrained()["vgg16"])
    module = phase.networks["V"].module.to_empty(device="cpu")
    module.load_state_dict({path: theirs.state_dict()[their_name(path, names)] for path in module.state_dict()})
    flow = normalised(images())
    for layer in theirs["features"][:10]:  # type: ignore[index]  # a Sequential
        flow = nn.functional.avg_pool2d(flow, 2) if isinstance(layer, nn.MaxPool2d) else layer(flow)
    assert float((module(images())["pool2"] - flow).abs().max() / flow.abs().max()) <= 1e-6


@torch.no_grad()
def test_a_param_reflects_the_maps_in_their_borders() -> None:
    torch.manual_seed(0)
    theirs = get_model("vgg16").features[:4]
    (phase,) = check_spec(read(text('pretrained("vgg16", borders="reflect", outputs=["relu1_2"])', "relu1_2")))
    module = phase.networks["V"].module.to_empty(device="cpu")
    module.load_state_dict(dict(zip(module.state_dict(), theirs.state_dict().values(), strict=True)))
    flow = normalised(images())
    for layer in theirs:
        if isinstance(layer, nn.Conv2d):
            flow = nn.functional.pad(flow, (1, 1, 1, 1), "reflect")
            flow = nn.functional.conv2d(flow, layer.weight, layer.bias)
        else:
            flow = layer(flow)
    assert float((module(images())["relu1_2"] - flow).abs().max() / flow.abs().max()) <= 1e-6


def test_a_param_that_the_network_has_not_is_refused() -> None:
    with pytest.raises(gangraph.SpecError, match=r"no param 'poll'[\s\S]*did you mean 'pool'"):
        checked('pretrained("vgg16", poll=avg_pool2d(2))', "relu1_2")


def test_only_the_layers_that_are_read_are_made_and_the_evaluation_s_are_among_them() -> None:
    assert checked('pretrained("vgg19")', "relu2_2").networks["V"].parameters == 260_160
    evaluate = "evaluate: {metrics: {seen: mean(V(fake).relu3_1)}}\n"
    (both,) = check_spec(read(text('pretrained("vgg19")', "relu2_2") + evaluate))
    assert both.networks["V"].parameters == 260_160 + 128 * 256 * 9 + 256
    trained = read(text('pretrained("vgg19", outputs=["relu2_2"])', "relu2_2").replace("sgd(G", "sgd([G, V]"))
    (whole,) = check_spec(trained)
    assert whole.networks["V"].parameters == 260_160


def weights(folder: Path, name: str = "vgg16", prefix: str = "features.") -> None:
    """Random weights of some layers, in a folder that is given."""
    torch.manual_seed(0)
    state = {key: tensor for key, tensor in get_model(name).state_dict().items() if key.startswith(prefix)}
    folder.mkdir(exist_ok=True)
    save_file(state, folder / "vgg16_features_imagenet_f16.safetensors")


def test_a_run_takes_the_file_that_metrics_take_and_goes_on_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANGRAPH_WEIGHTS", str(tmp_path / "weights"))
    weights(tmp_path / "weights", prefix="features.0.")
    Path("small.yaml").write_text(text('pretrained("vgg16")', "relu1_1", size=16))
    trainer = Trainer(gangraph.load("small.yaml"), device="cpu")
    state = load_file(tmp_path / "weights" / "vgg16_features_imagenet_f16.safetensors")
    assert torch.equal(trainer.networks["V"].get_parameter("conv1_1.conv2d.weight"), state["features.0.weight"])
    trainer.train(steps=1)
    trainer.save("half")
    assert Trainer.resume("half", device="cpu").step_count == 1


def test_missing_weights_are_named_before_a_run_and_stop_no_view(capsys: pytest.CaptureFixture[str]) -> None:
    Path("small.yaml").write_text(text('pretrained("vgg19")', "relu2_2", size=16))
    assert main(["show", "small.yaml", "--as", "plan"]) == 0
    capsys.readouterr()
    assert main(["check", "small.yaml"]) == 1
    told = capsys.readouterr().out
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    problem = [
        "small.yaml:7:6: error GG235: the weights of vgg19 are missing",
        '    7 |   V: pretrained("vgg19")',
        "      |      ^^^^^^^^^^^^^^^^^^^",
        f"    found:     nothing in GANGRAPH_WEIGHTS, which names no folder, and nothing in '{folder}'",
        "    expected:  vgg19-dcbb9e9d.pth in one of them; --weights DIR names another folder",
        "    fix:       python -c \"import torchvision; torchvision.models.vgg19(weights='IMAGENET1K_V1')\" "
        "fetches the file, and so does a run with GANGRAPH_DOWNLOAD=1",
    ]
    assert told.splitlines()[:6] == problem and told.splitlines()[-1].startswith("1 error, ")
    with pytest.raises(WeightsError) as caught:
        Trainer(gangraph.load("small.yaml"), device="cpu")
    assert str(caught.value).splitlines() == problem
    assert main(["check", "small.yaml", "--json"]) == 1
    (error,) = json.loads(capsys.readouterr().out)["errors"]
    assert (error["code"], error["line"], error["column"]) == ("GG235", 7, 6)


def test_of_weights_that_torchvision_lacks_the_owner_is_told_and_none_are_fetched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GANGRAPH_DOWNLOAD", "1")
    with pytest.raises(WeightsError) as caught:
        Trainer(read(text('pretrained("normalised_vgg19")', "relu1_1", size=16)), device="cpu")
    assert "expected:  vgg_normalised.pth in one of them" in str(caught.value)
    assert "fix:       github.com/naoto0804/pytorch-AdaIN has the file" in str(caught.value)


def test_the_other_place_that_was_looked_at_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANGRAPH_WEIGHTS", str(tmp_path / "weights"))
    with pytest.raises(WeightsError, match=r"nothing in '.*weights', which GANGRAPH_WEIGHTS names, and nothing in '"):
        Trainer(read(text('pretrained("inception_v3")', "pooled", size=75)), device="cpu")


def test_a_file_with_fewer_layers_than_are_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANGRAPH_WEIGHTS", str(tmp_path / "weights"))
    weights(tmp_path / "weights", prefix="features.0.")
    with pytest.raises(gangraph.SpecError, match=r"the weights do not fit 'V'") as caught:
        checked('pretrained("vgg16")', "relu1_2", size=16)
    assert "conv1_2.conv2d.weight missing" in str(caught.value)


@needs_shared
@torch.no_grad()
def test_the_real_vgg16_gives_what_the_metrics_network_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    from gangraph.vocabulary.pretrained import network

    monkeypatch.setenv("GANGRAPH_WEIGHTS", str(WEIGHTS))
    Path("small.yaml").write_text(text('pretrained("vgg16")', "relu3_3", size=32))
    made = Trainer(gangraph.load("small.yaml"), device="cpu").networks["V"](images(size=32))["relu3_3"]
    expected = network("vgg16").get_submodule("features")[:16](normalised(images(size=32)))  # type: ignore[index]
    assert float((made - expected).abs().max() / expected.abs().max()) <= 1e-6
