"""A run carries the files of its spec with it: what is copied, and that copies alone are enough."""

from pathlib import Path

import pytest

import gangraph
from gangraph.errors import SpecError
from gangraph.language.document.copies import files_of
from gangraph.language.document.library import shipped
from gangraph.language.document.parse import Choice, parse, parse_text
from gangraph.language.fingerprint import evaluation_fingerprint, fingerprint
from gangraph.language.resolve.document import resolve
from gangraph.language.spec import Spec
from gangraph.pipeline import check_spec
from tests.support import SMALL
from tests.test_evaluators import JUDGE

NETWORK = "{inputs: x, params: {width: 4}, layers: 'linear(width), tanh, linear(%d)'}\n"
PARTS = {
    "networks_g": "wide(width=6)",
    "networks_d": "mlp(widths=[4])",
    "more_networks": "  E: average(G, decay=0.9)",
    "more_values": "",
    "judge": "logistic.critic(real=D(x), fake=D(fake))",
    "fool": "logistic.generator(D(fake))",
    "batch": "4",
    "length": "  length: 4 steps",
    "optimizer_g": "sgd(G, lr=0.1)",
    "optimizer_d": "sgd(D, lr=0.1)",
    "step": "  step:\n    - {update: d, minimize: judge}\n    - {update: g, minimize: fool}",
    "evaluate": 'evaluate:\n  networks:\n    J: trained("judges/judge", network="C")\n  grid: [fake]\n'
    "  results: {away: mean(J(fake).side)}",
}


def written(folder: Path) -> Path:
    """A spec that calls a file beside it, a shipped one, and an evaluator beside it that calls a file of its own."""
    for place in (folder / "networks", folder / "judges" / "networks"):
        place.mkdir(parents=True)
    (folder / "networks" / "wide.yaml").write_text(NETWORK % 2)
    (folder / "networks" / "unused.yaml").write_text(NETWORK % 9)
    (folder / "judges" / "networks" / "body.yaml").write_text(NETWORK % 3)
    judge = JUDGE.replace('body: "linear(width), batch_norm, relu, dropout(0.5)"', 'body: "linear(width), relu"')
    (folder / "judges" / "judge.yaml").write_text(judge.replace("  E: average(C", "  B: body(width=2)\n  E: average(C"))
    (folder / "small.yaml").write_text(SMALL.format(**PARTS))
    return folder / "small.yaml"


def again(spec: Spec, copies: dict[str, str] | None = None) -> Spec:
    """The spec read from its text and copies of its files, with nothing else at hand."""
    document = parse_text(spec.text, name="copy.yaml", copies=files_of(spec) if copies is None else copies)
    return resolve(document, Choice(spec.profile, spec.variant or None, dict(spec.settings)))


def test_every_shipped_spec_is_whole_with_the_copies_of_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    specs = {name: gangraph.load(name) for name in shipped()}
    monkeypatch.setattr("gangraph.language.document.library.shipped", lambda folder="": {})
    for name, spec in specs.items():
        copy = again(spec)
        assert not [problem for problem in copy.problems if problem.severity == "error"], name
        assert fingerprint(copy) == fingerprint(spec), name
        assert [*map(evaluation_fingerprint, copy.phases)] == [*map(evaluation_fingerprint, spec.phases)], name
        assert files_of(copy) == files_of(spec), name


def test_what_is_copied_is_what_is_used_evaluators_with_their_own_networks_included(tmp_path: Path) -> None:
    spec = resolve(parse(written(tmp_path)))
    assert [*files_of(spec)] == [
        "judges/judge.yaml",
        "judges/networks/body.yaml",
        "networks/mlp.yaml",
        "networks/wide.yaml",
    ]
    assert [phase.graph.spec.name for phase in check_spec(again(spec))] == [spec.phases[0].name]


def test_a_copy_stands_for_a_file_that_was_edited_or_removed(tmp_path: Path) -> None:
    path = written(tmp_path)
    spec = resolve(parse(path))
    (tmp_path / "networks" / "wide.yaml").write_text(NETWORK % 7)
    (tmp_path / "judges" / "networks" / "body.yaml").unlink()
    document = parse_text(path.read_text(), origin=tmp_path, copies=files_of(spec))
    assert fingerprint(resolve(document)) == fingerprint(spec)
    assert fingerprint(resolve(parse_text(path.read_text(), origin=tmp_path))) != fingerprint(spec)


def test_a_network_of_an_evaluator_may_have_the_name_of_another_one(tmp_path: Path) -> None:
    """The shipped evaluator calls the shipped `mlp`, and beside the spec lies an `mlp` of its own."""
    path = written(tmp_path)
    (tmp_path / "networks" / "mlp.yaml").write_text(NETWORK.replace("params: {", "params: {widths: [1], ") % 1)
    path.write_text(
        path.read_text().replace('"judges/judge", network="C"', '"unrolled", network="D"').replace(".side", "")
    )
    spec = resolve(parse(path))
    copies = files_of(spec)
    assert [*copies] == ["networks/mlp.yaml", "networks/wide.yaml", "unrolled.yaml", "unrolled/networks/mlp.yaml"]
    check_spec(again(spec))
    assert fingerprint(again(spec)) == fingerprint(spec)
    assert [*map(evaluation_fingerprint, again(spec).phases)] == [*map(evaluation_fingerprint, spec.phases)]


@pytest.mark.parametrize("called", ["/etc/hostname", "../secret", "judges/../../secret.yaml", "notes.txt"])
def test_an_evaluator_is_a_spec_below_the_folder_of_the_spec_that_calls_it(called: str, tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text("hush: hush")
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "notes.txt").write_text("hush")
    path = written(tmp_path / "specs")
    path.write_text(path.read_text().replace("judges/judge", called))
    with pytest.raises(SpecError) as error:
        check_spec(resolve(parse(path)))
    assert "hush" not in str(error.value)
    assert f"there is no spec '{called}'" in str(error.value)
