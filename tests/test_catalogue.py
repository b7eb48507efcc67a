"""What holds for every shipped spec, and for the engine that must not know any of them."""

import re
from pathlib import Path

import pytest

import gangraph
from gangraph.language.library import shipped
from gangraph.language.parse import parse

ROOT = Path(__file__).parent.parent
SYSTEMS = ("cyclegan", "dcgan", "gan", "pix2pix", "wgan", "wgan_gp")
LONGEST = {"dcgan": 40, "cyclegan": 80}
# Names that would show a special case; "gan" alone is a word of the field.
NAMES = re.compile(
    r"\b(cyclegan|dcgan|pix2pix|wgan|wgan_gp|lsgan|infogan|progan|stylegan|bigan|cogan|lapgan)\b", re.IGNORECASE
)


def forms() -> list[tuple[str, str, str | None]]:
    """Every profile of every spec, and every variant of the paper's form and of quick."""
    found: list[tuple[str, str, str | None]] = []
    for name in SYSTEMS:
        document = parse(name)
        profiles = ["paper", *document.overlays("profiles")]
        found += [(name, profile, None) for profile in profiles]
        found += [
            (name, profile, variant) for profile in ("paper", "quick") for variant in document.overlays("variants")
        ]
    return found


def test_the_catalogue_holds_the_six_systems() -> None:
    assert tuple(shipped()) == SYSTEMS
    assert len(shipped("networks")) == 8


@pytest.mark.parametrize(("name", "profile", "variant"), forms())
def test_every_form_of_a_spec_passes_check(name: str, profile: str, variant: str | None) -> None:
    spec = gangraph.load(name, profile=profile, variant=variant)
    for checked in gangraph.check_spec(spec):
        assert checked.graph.updates


@pytest.mark.parametrize("name", LONGEST)
def test_the_method_of_a_paper_is_short(name: str) -> None:
    method = shipped()[name].read_text().partition("\nevaluate:")[0]  # what is measured and claimed comes below
    lines = (line.strip() for line in method.splitlines())
    assert sum(bool(line) and not line.startswith("#") for line in lines) <= LONGEST[name]


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_spec_states_its_paper_its_quick_profile_and_its_claims(name: str) -> None:
    spec = gangraph.load(name, profile="paper")
    assert spec.paper is not None
    assert spec.default_profile == "quick"
    assert spec.claims


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("cyclegan", {"G": 11_378_179, "F": 11_378_179, "D_x": 2_764_737, "D_y": 2_764_737}),
        ("pix2pix", {"G": 54_413_955, "D": 2_768_705}),
        ("dcgan", {"G": 3_576_704, "D": 2_765_568}),
        ("gan", {"G": 2_503_984, "D": 1_231_441}),
        ("wgan_gp", {"G": 5_179_907, "D": 4_114_689}),
    ],
)
def test_networks_have_the_parameter_counts_of_the_papers(name: str, counts: dict[str, int]) -> None:
    (checked,) = gangraph.check_spec(gangraph.load(name, profile="paper"))
    assert {network: model.parameters for network, model in checked.networks.items()} == counts


def test_no_python_file_of_the_engine_names_a_system() -> None:
    sources = [path for folder in ("gangraph", "kernels") for path in (ROOT / folder).rglob("*.py")]
    assert len(sources) > 60
    assert [str(path) for path in sources if NAMES.search(path.read_text())] == []
