"""Where weights are looked for, what is said when they are missing or wrong, and the networks made from them."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from gangraph.errors import WeightsError
from gangraph.vocabulary import pretrained
from gangraph.vocabulary.metrics.images import lpips
from gangraph.vocabulary.pretrained import CATALOGUE, digest, find, network, weights_facts
from tests.metrics.shared import WEIGHTS, needs_shared, uniform

ALEXNET = "alexnet_features_imagenet_f16.safetensors"


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights and no way to get any."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("GANGRAPH_WEIGHTS", raising=False)
    monkeypatch.delenv("GANGRAPH_DOWNLOAD", raising=False)


def hub(tmp_path: Path, file: str) -> Path:
    path = tmp_path / "torch" / "hub" / "checkpoints" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@pytest.mark.parametrize("name", CATALOGUE)
def test_missing_weights_are_named_with_what_works_without_them(name: str) -> None:
    with pytest.raises(WeightsError) as caught:
        find(name)
    message = str(caught.value)
    assert f"the weights of {name} " in message
    assert "GANGRAPH_WEIGHTS names no folder" in message
    assert all(file in message for file in CATALOGUE[name].files)
    assert "GANGRAPH_DOWNLOAD=1" in message
    assert CATALOGUE[name].without in message


def test_a_metric_says_which_weights_it_misses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANGRAPH_WEIGHTS", str(tmp_path / "no"))
    with pytest.raises(WeightsError, match=r"names '.*no', which is not a folder"):
        lpips(uniform(1, 3, 64, 64), uniform(1, 3, 64, 64))
    monkeypatch.setenv("GANGRAPH_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"they are not in '.*', which GANGRAPH_WEIGHTS names"):
        find("inception")
    assert weights_facts("inception") == {"weights": "missing"}


def test_the_given_folder_comes_before_the_libraries_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    downloaded = hub(tmp_path, "alexnet-owt-7be5be79.pth")
    downloaded.write_bytes(b"old")
    assert find("alexnet") == downloaded
    assert weights_facts("alexnet") == {"weights": "alexnet-owt-7be5be79.pth", "sha256": digest(downloaded)[:12]}
    monkeypatch.setenv("GANGRAPH_WEIGHTS", str(tmp_path))
    (tmp_path / ALEXNET).write_bytes(b"new")
    assert find("alexnet") == tmp_path / ALEXNET


def test_a_download_goes_where_the_library_would_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def fetch(url: str, target: str, *, hash_prefix: str, progress: bool) -> None:
        asked.append((url.rpartition("/")[2], hash_prefix))
        Path(target).write_bytes(b"fetched")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    monkeypatch.setenv("GANGRAPH_DOWNLOAD", "1")
    for name, weights in CATALOGUE.items():
        assert find(name) == hub(tmp_path, weights.files[1])
        assert asked.pop() == (weights.files[1], weights.files[1].rpartition("-")[2].removesuffix(".pth"))


def test_a_download_that_fails_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    monkeypatch.setenv("GANGRAPH_DOWNLOAD", "1")
    with pytest.raises(WeightsError, match=r"^the weights of vgg16 could not be downloaded: no route$"):
        find("vgg16")


@pytest.mark.parametrize("file", [ALEXNET, "alexnet-owt-7be5be79.pth"])
def test_a_corrupt_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    monkeypatch.setenv("GANGRAPH_WEIGHTS", str(tmp_path))
    (tmp_path / file).write_bytes(b"not weights")
    with pytest.raises(WeightsError, match=f"the weights '.*{file}' cannot be read"):
        network("alexnet")


def test_weights_of_another_network_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANGRAPH_WEIGHTS", str(tmp_path))
    save_file({"features.0.weight": torch.zeros(1)}, tmp_path / ALEXNET)
    with pytest.raises(
        WeightsError, match=r"does not hold AlexNet .*'features\.0\.weight' is missing or of another shape"
    ):
        network("alexnet")


def test_a_digest_follows_the_file(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    first = digest(path)
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert digest(path) != first
    assert len(first) == 64


@needs_shared
def test_a_library_s_own_file_gives_the_same_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = {key: value.float() for key, value in load_file(WEIGHTS / ALEXNET).items()}
    torch.save({**tensors, "classifier.6.bias": torch.zeros(1000)}, hub(tmp_path, "alexnet-owt-7be5be79.pth"))
    x, y = uniform(2, 3, 64, 64), uniform(2, 3, 64, 64, seed=1)
    found = lpips(x, y)
    monkeypatch.setenv("GANGRAPH_WEIGHTS", str(WEIGHTS))
    assert torch.equal(found, lpips(x, y))


@needs_shared
@pytest.mark.parametrize("name", CATALOGUE)
def test_networks_are_made_once_frozen_and_in_evaluation_mode(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("GANGRAPH_WEIGHTS", str(WEIGHTS))
    made = network(name)
    assert made is network(name)
    assert not any(module.training for module in made.modules())
    assert all(p.dtype == torch.float32 and not p.requires_grad and p.isfinite().all() for p in made.parameters())


@needs_shared
def test_making_a_network_draws_no_random_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANGRAPH_WEIGHTS", str(WEIGHTS))
    pretrained._network.cache_clear()
    state = torch.get_rng_state()
    network("squeezenet")
    assert torch.equal(state, torch.get_rng_state())


@needs_shared
def test_features_of_vgg16_are_those_of_torchvision_s_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models import vgg16
    from torchvision.transforms.functional import normalize

    monkeypatch.setenv("GANGRAPH_WEIGHTS", str(WEIGHTS))
    with torch.device("meta"):
        theirs = vgg16().features[:-1]
    weights = load_file(WEIGHTS / "vgg16_features_imagenet_f16.safetensors")
    theirs.load_state_dict({k.removeprefix("features."): v.float() for k, v in weights.items()}, assign=True)
    levels = ((uniform(1, 3, 224, 224) + 1) * 127.5).round()
    expected = theirs(normalize(levels / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])).mean((2, 3))
    assert torch.allclose(pretrained.vgg16_features(levels), expected, atol=1e-5)
    assert pretrained.vgg16_features(levels).shape == (1, 512)
