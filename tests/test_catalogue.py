"""What holds for every shipped spec, and for the engine that must not know any of them."""

import re
from itertools import chain
from pathlib import Path
from statistics import median

import pytest
import yaml

import gangraph
from gangraph.language.document.library import shipped
from gangraph.language.document.parse import parse

ROOT = Path(__file__).parent.parent
SYSTEMS = (
    "acgan", "adain_style", "autoencoder", "began", "beta_vae", "bigan", "cgan", "cin", "cogan", "cut", "cvae",
    "cyclegan", "dance", "dcgan", "deepsim", "deformation", "dualgan", "gan", "gatys", "geometry", "igan", "infogan",
    "inpainting", "inversion", "johnson", "lapgan", "lsgan", "mathieu", "mgan", "minibatch", "pgn", "pix2pix",
    "pixelcnn", "pixelrnn", "progan", "r3gan", "srgan", "srresnet", "stylegan", "stylegan2", "unrolled", "vae",
    "vae_gan", "vqgan", "wgan", "wgan_gp",
)  # fmt: skip
# Parameters of networks with the paper's settings, by spec and variants.
COUNTS = {
    ("acgan", ""): {"G": 2_994_051, "D": 1_664_875},
    ("adain_style", ""): {"V": 3_505_728, "G": 3_505_219, "apart": 0, "R": 0},
    ("adain_style", "official_code"): {"V": 3_505_740, "G": 3_505_219, "apart": 0, "R": 0},
    ("autoencoder", ""): {"encoder": 1_418_280, "decoder": 1_419_034},  # all derived from the widths that papers state
    ("autoencoder", "minimal"): {"encoder": 25_120, "decoder": 25_872},
    ("autoencoder", "sparse"): {"encoder": 1_625, "decoder": 1_664},
    ("autoencoder", "denoising"): {"encoder": 392_500, "decoder": 784},
    ("autoencoder", "polygons"): {"encoder": 52_002, "decoder": 58_178, "begun": 0, "F": 0},
    ("began", ""): {"G": 1_716_611, "E": 11_688_768, "R": 1_716_611},  # the critic, R(E(x)), has 13,405,379
    ("beta_vae", ""): {"encoder": 395_264, "decoder": 387_011},
    ("beta_vae", "sprites,capacity"): {"encoder": 252_052, "decoder": 249_953},
    ("bigan", ""): {"G": 1_953_792, "E": 1_902_592, "D": 1_903_616},
    ("bigan", "toy"): {"G": 484_802, "E": 164_002, "D": 407_201},
    ("cgan", ""): {"G": 2_413_984, "D": 1_224_351},
    ("cin", ""): {"T": 1_777_024, "V": 7_635_264, "apart": 0},  # 3,206 a style
    ("cin", "one_style"): {"T": 1_677_638, "V": 7_635_264, "apart": 0},
    ("cogan", ""): {"G_a": 7_838_085, "G_b": 7_838_085, "D_a": 427_073, "D_b": 427_073},
    ("cut", ""): {
        "G": 11_378_179,
        "D": 2_764_737,
        **{f"F[{level}]": count for level, count in enumerate((66_816, 98_816, 131_584, 131_584, 131_584))},
        "nce": 0,
    },
    ("cvae", ""): {"encoder": 204_548, "decoder": 204_816},
    ("cyclegan", ""): {"G": 11_378_179, "F": 11_378_179, "D_x": 2_764_737, "D_y": 2_764_737},
    ("dance", ""): {  # the last phase has the local generator, and all
        "G": 182_715_939,
        "F": 26_724_291,
        **{f"D[{scale}]": 2_773_953 for scale in (1, 2, 3)},
        "D_face": 2_769_601,
        "V": 12_944_960,
        **dict.fromkeys(("half", "cut", "place"), 0),
    },
    ("dcgan", ""): {"G": 3_576_704, "D": 2_765_568},
    ("deepsim", ""): {"C": 40_222_528, "G": 56_096_256, "D": 6_129_986},  # the release's, without biases that stay 0
    ("deepsim", "pool5"): {"C": 2_469_696, "G": 12_699_136, "D": 11_372_866},
    ("deformation", ""): {  # the images' and the critics' are derived from the code
        "T": 22_174,
        "S": 4_294_082,
        "I": 41_823_619,
        "D_s": 2_762_689,
        "D_i": 136_385,
    },
    ("dualgan", ""): {"G": 30_627_907, "F": 30_627_907, "D_x": 2_764_737, "D_y": 2_764_737},
    ("dualgan", "official_code"): {"G": 30_627_907, "F": 30_627_907, "D_x": 3_949_441, "D_y": 3_949_441},
    ("dualgan", "code_map"): {"G": 30_627_907, "F": 30_627_907, "D_x": 3_921_281, "D_y": 3_921_281},
    ("gan", ""): {"G": 2_503_984, "D": 1_231_441},
    ("gatys", ""): {"V": 12_944_960, "apart": 0, "picture": 3 * 512**2},  # VGG-19 up to conv5_1
    ("geometry", ""): {"G": 11_378_179, "F": 11_378_179, "D_x": 2_764_737, "D_y": 2_764_737},  # as cyclegan
    ("infogan", ""): {"G": 6_652_481, "T": 6_558_144, "D": 1_025, "Q": 133_262},
    ("inpainting", ""): {"G": 71_130_531, "D": 2_766_529, "square": 0, "emptied": 0, "middle": 0},
    ("inpainting", "regions"): {"G": 71_196_259, "D": 2_832_257, "emptied": 0},  # derived: one level more in each
    ("inversion", ""): {"V": 994_624, "variation": 0, "picture": 3 * 227**2},  # AlexNet up to conv3
    ("johnson", ""): {
        "T": 1_679_235,
        "V": 7_635_264,
        **{f"apart[{level}]": 0 for level in (1, 2, 3, 4)},
        "variation": 0,
    },
    ("johnson", "super_resolution"): {"T": 475_971, "V": 260_160},
    ("johnson", "super_resolution,eightfold"): {"T": 513_027, "V": 260_160},
    ("lapgan", ""): {
        "G[0]": 1_792_992,
        "G[1]": 218_179,
        "G[2]": 218_179,
        "D[0]": 477_001,
        "D[1]": 107_905,
        "D[2]": 113_729,
    },
    ("lsgan", ""): {"G": 15_591_427, "D": 4_333_441},
    ("mathieu", ""): {  # derived from the paper's table: 12,569,740 and 20,640,388, see below
        "G[1]": 607_619,
        "G[2]": 647_939,
        "G[3]": 3_008_003,
        "G[4]": 8_306_179,
        "D[1]": 271_873,
        "D[2]": 1_280_769,
        "D[3]": 7_226_881,
        "D[4]": 11_860_865,
    },
    ("mathieu", "official_code"): {  # 223,644 and 2,128,548
        "G[1]": 11_443,
        "G[2]": 16_483,
        "G[3]": 53_443,
        "G[4]": 142_275,
        "D[1]": 70_401,
        "D[2]": 130_913,
        "D[3]": 384_353,
        "D[4]": 1_542_881,
    },
    ("mgan", ""): {  # VGG-19 up to conv5_1, and 64 photographs of 384 pixels a side
        "V": 12_944_960,
        "P": 606_977,
        "G": 4_989_571,
        "D": 3_148_545,
        "picture": 64 * 3 * 384**2,
        "moved": 0,
        "squares": 0,
        "chosen": 0,
        "variation": 0,
        "unlike": 0,
    },
    ("minibatch", ""): {"G": 4_933_382, "D": 1_504_404},
    ("minibatch", "feature_matching"): {"G": 4_933_382, "D": 1_406_804},
    # All derived, since no sum is published: encoder, LSTM of 4 * 1568 * (1568 + 1568 + 2), and what reads 32 x 7 x 7.
    ("pgn", "both"): {"G": 4_800 + 19_681_536 + 4_769, "D": 2 * 4_800 + 19_681_536 + 2_460_192 + 19_678_401},
    ("pgn", "turning"): {"G": 41_083_265},
    ("pix2pix", ""): {"G": 54_413_955, "D": 2_768_705},
    ("pixelcnn", ""): {"P": 27_489},
    ("pixelcnn", "gated"): {"P": 189_537},
    ("pixelcnn", "cifar"): {"P": 5_340_416},
    ("pixelrnn", ""): {"P": 58_881},
    ("igan", ""): {"G": 18_885_760, "P": 18_854_784, "C": 1_879_616, "H": 0, "code": 100, "blind": 100, "change": 100},
    ("pixelrnn", "row"): {"P": 52_161},
    ("progan", ""): {"G": 23_071_507, "D": 23_077_137},  # at the end: test_growing.py counts the heads of all phases
    ("r3gan", ""): {"G": 23_057_952, "D": 23_009_568},
    ("r3gan", "ffhq64"): {"G": 22_429_824, "D": 22_381_440},
    ("srgan", ""): {"G": 1_547_350, "D": 23_563_649, "V": 20_024_384},
    ("srgan", "vgg22"): {"G": 1_547_350, "D": 23_563_649, "V": 260_160},  # the layers up to the second of block 2
    ("srresnet", ""): {"G": 1_547_350},
    ("stylegan", ""): {"M": 2_101_248, "S": 24_110_771, "D": 23_077_137},
    ("stylegan2", ""): {"M": 2_101_248, "S": 30_370_060 - 2_101_248, "D": 29_012_513},
    ("stylegan2", "ffhq256"): {"M": 2_101_248, "S": 24_767_458 - 2_101_248, "D": 24_001_089},
    ("unrolled", ""): {"G": 49_666, "D": 513},
    ("vae", ""): {"encoder": 330_040, "decoder": 322_784},
    ("vae_gan", ""): {"Enc": 17_808_960 + 262_400, "Dec": 4_693_155, "D": 10_953_857},
    ("vqgan", ""): {  # each of E and G has one of the 1 x 1 convolutions beside the codes
        "E": 29_298_176 + 65_792,
        "G": 42_449_795 + 65_792,
        "Z": 262_144,
        "D": 2_765_633,
        "V": 14_714_688,
    },
    ("wgan_gp", ""): {"G": 5_179_907, "D": 4_114_689},
}
LONGEST = {"dcgan": 40, "cyclegan": 80}
# Names that would show a special case; some are words of English or of the field, and one is an author's, who is cited.
WORDS = {"began", "cut", "dance", "deformation", "gan", "geometry", "mathieu", "minibatch", "unrolled"}
NAMES = re.compile(rf"\b({'|'.join({*SYSTEMS} - WORDS)})\b", re.IGNORECASE)


def method(name: str) -> list[str]:
    """The lines of a spec that state its method: what is measured and claimed comes below. No comments, no blanks."""
    lines = (line.strip() for line in shipped()[name].read_text().partition("\nevaluate:")[0].splitlines())
    return [line for line in lines if line and not line.startswith("#")]


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


def test_the_catalogue_holds_the_systems() -> None:
    assert tuple(shipped()) == SYSTEMS
    assert len(shipped("networks")) == len([*(ROOT / "specs" / "networks").glob("*.yaml")])


@pytest.mark.parametrize(("name", "profile", "variant"), forms())
def test_every_form_of_a_spec_passes_check(name: str, profile: str, variant: str | None) -> None:
    spec = gangraph.load(name, profile=profile, variant=variant)
    for checked in gangraph.check_spec(spec):
        assert checked.graph.updates


@pytest.mark.parametrize("name", LONGEST)
def test_the_method_of_a_paper_is_short(name: str) -> None:
    assert len(method(name)) <= LONGEST[name]


def test_specs_are_short() -> None:
    assert median(len(method(name)) for name in SYSTEMS) <= 60


def networks_in(document: object, place: str) -> list[tuple[str, str]]:
    """Every network that a document defines itself, as text without its name and params, and where."""
    if isinstance(document, list):
        return list(chain.from_iterable(networks_in(item, place) for item in document))
    if not isinstance(document, dict):
        return []
    if {"layers", "parts"} & document.keys() and "inputs" in document:
        graph = {key: document[key] for key in ("inputs", "layers", "parts", "values", "output") if key in document}
        return [(yaml.safe_dump(graph), place)]
    return list(chain.from_iterable(networks_in(item, place) for item in document.values()))


def test_no_spec_repeats_the_network_of_another() -> None:
    files = [*shipped().values(), *shipped("networks").values(), *shipped("evaluators").values()]
    found = list(
        chain.from_iterable(networks_in(yaml.load(path.read_text(), yaml.BaseLoader), path.stem) for path in files)
    )
    assert len(found) >= len(shipped("networks"))
    places: dict[str, set[str]] = {}
    for graph, place in found:
        places.setdefault(graph, set()).add(place)
    assert [sorted(names) for names in places.values() if len(names) > 1] == []


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_spec_states_its_paper_its_quick_profile_and_its_claims(name: str) -> None:
    spec = gangraph.load(name, profile="paper")
    assert spec.paper is not None
    assert spec.default_profile == "quick"
    assert spec.claims


@pytest.mark.parametrize(("name", "variant"), COUNTS)
def test_networks_have_the_parameter_counts_of_the_papers(name: str, variant: str) -> None:
    checked = gangraph.check_spec(gangraph.load(name, profile="paper", variant=variant or None))[-1]
    counts = {network: model.parameters for network, model in checked.networks.items()}
    assert counts == COUNTS[name, variant]


def test_every_system_but_one_has_its_counts_asserted() -> None:
    assert {name for name, _ in COUNTS} == {*SYSTEMS} - {"wgan"}  # whose networks are dcgan's
    assert sum(COUNTS["vae", ""].values()) == 652_824
    assert [sum(COUNTS["autoencoder", form].values()) for form in ("minimal", "sparse", "denoising")] == [
        50_992, 3_289, 393_284,
    ]  # fmt: skip
    assert sum(COUNTS["beta_vae", ""].values()) == 782_275
    assert sum(COUNTS["beta_vae", "sprites,capacity"].values()) == 502_005
    assert sum(COUNTS["cvae", ""].values()) == 409_364
    assert sum(COUNTS["vqgan", ""][name] for name in "EGZ") == 72_141_699
    first = gangraph.check_spec(gangraph.load("dance", profile="paper"))[0]
    assert first.networks["G"].parameters == 182_452_675  # the global generator
    for variant, predictor, critic in (("", 12_569_740, 20_640_388), ("official_code", 223_644, 2_128_548)):
        counts = COUNTS["mathieu", variant]
        assert sum(counts[f"G[{k}]"] for k in (1, 2, 3, 4)) == predictor
        assert sum(counts[f"D[{k}]"] for k in (1, 2, 3, 4)) == critic


def test_no_python_file_of_the_engine_names_a_system() -> None:
    sources = [path for folder in ("gangraph", "kernels") for path in (ROOT / folder).rglob("*.py")]
    assert len(sources) > 60
    assert [str(path) for path in sources if NAMES.search(path.read_text())] == []
