"""The documents are true: their specs are valid, their plug-in works, and their listing is what is registered."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from gangraph.check.phase import Checked
from gangraph.cli import app, main
from gangraph.errors import SpecError
from gangraph.language.document.library import shipped
from gangraph.language.expression import syntax
from gangraph.pipeline import check_spec, compile_phase
from gangraph.registry import load_plugins
from gangraph.views.vocabulary_page import vocabulary_page
from tests.plugin import installed
from tests.support import read, small, trainer

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
SPECS = 4  # complete specs in the documents: four of the tutorial


def blocks(path: Path, language: str) -> list[str]:
    """The code blocks of one language in a document."""
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def complete_specs() -> Iterator[tuple[str, str]]:
    """Every block that is a whole spec, and a name for it."""
    for path in sorted(DOCS.glob("*.md")):
        whole = (block for block in blocks(path, "yaml") if block.startswith("gangraph: 1"))
        yield from ((f"{path.stem}-{number}", block) for number, block in enumerate(whole, 1))


def checked(text: str) -> Checked:
    (phase,) = check_spec(read(text))
    return phase


def test_documents_hold_as_many_specs_as_were_written() -> None:
    assert len(list(complete_specs())) == SPECS


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in complete_specs()])
def test_spec_in_a_document_is_valid_and_compiles(text: str) -> None:
    phase = checked(text)
    assert phase.lints == ()
    assert compile_phase(phase).segments


def test_a_variant_of_a_shipped_spec_takes_ten_lines_and_differs_as_the_tutorial_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = DOCS / "tutorial.md"
    variant = next(block for block in blocks(page, "yaml") if "\nbase: " in block)
    assert len(variant.splitlines()) <= 10
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    Path("one_sided.yaml").write_text(variant)
    command = "gangraph diff wgan_gp one_sided.yaml"
    assert main(command.split()[1:]) == 0
    assert f"$ {command}\n{capsys.readouterr().out}" in blocks(page, "console")


def shown(page: Path, spec: str) -> Iterator[tuple[str, str]]:
    """Commands of a page that look at a spec, without the `sed` that shortens them, and what the page prints."""
    for block in blocks(page, "console"):
        command, _, printed = block.removeprefix("$ gangraph ").partition("\n")
        if re.match(rf"(check|show|explain) {re.escape(spec)}\b", command):
            yield command.partition(" | ")[0], printed


@pytest.mark.parametrize(("command", "printed"), [*shown(DOCS / "tutorial.md", "ring.yaml")])
def test_what_the_tutorial_shows_of_its_first_spec_is_what_commands_print(
    command: str, printed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    Path("ring.yaml").write_text(next(text for _, text in complete_specs() if "name: ring\n" in text))
    assert main(command.split()) == 0
    assert printed.strip() in capsys.readouterr().out


def test_the_first_page_names_every_shipped_spec() -> None:
    rows = re.findall(r"^\| (`.*?`) \|", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row)) == sorted(shipped())


def test_vocabulary_page_is_up_to_date() -> None:
    how = "python -c 'from gangraph.views.vocabulary_page import vocabulary_page as page; print(page(), end=str())'"
    assert (DOCS / "vocabulary.md").read_text() == vocabulary_page(), f"write it again: {how} > docs/vocabulary.md"


def test_grammar_in_the_reference_is_the_parser_s() -> None:
    written = next(block for block in blocks(DOCS / "language.md", "text") if block.startswith("chain "))
    grammar = (syntax.__doc__ or "").partition("\n\n")[2]
    assert [line.strip() for line in written.splitlines()] == [line.strip() for line in grammar.strip().splitlines()]


def test_links_between_documents_lead_somewhere() -> None:
    for path in [*DOCS.rglob("*.md"), *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG"))]:
        for target in re.findall(r"\]\(([\w./-]+\.md|decisions)(?:#[\w-]*)?\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[str]:
    """The package of docs/plugins.md as if it were installed, and its spec. Afterwards its names are gone."""
    page = DOCS / "plugins.md"
    (project,), (module,) = blocks(page, "toml"), blocks(page, "python")
    ((name, named),) = tomllib.loads(project)["project"]["entry-points"]["gangraph.plugins"].items()
    with installed(name, named, module, tmp_path):
        assert "moons" in load_plugins()
        yield next(text for text in blocks(page, "text") if text.startswith("gangraph: 1"))


def test_plugin_is_found_by_its_entry_point_and_trains(plugin: str) -> None:
    run = trainer(read(plugin))
    losses = run.train(steps=2)
    look = run.evaluate()
    assert set(losses) == {"judge", "fool"}
    assert look is not None
    assert look.metrics["radius"] > 0


def test_plugin_layer_has_its_input_inferred(plugin: str) -> None:
    shapes = {name: tuple(p.shape) for name, p in checked(plugin).networks["G"].module.named_parameters()}
    assert shapes["layers.scaled_linear.weight"] == (32, 4)


@pytest.mark.parametrize(
    ("right", "wrong", "at", "code"),
    [
        ("half_moons(noise=0.1)", "half_moons(noise=-1)", "-1", "GG315"),
        ("swish_gate(sharpness=2)", 'swish_gate(sharpness="much")', '"much"', "GG313"),
        ("mean_radius(fake)", "mean_radios(fake)", "mean_radios", "GG310"),
        ("huber(mean(fake), mean(x))", "huber(mean(fake), mean(x), delta=x)", "x)", "GG313"),
        ("scaled_linear(32, gain=1.4)", "scaled_linear(32, gian=1.4)", "gian", "GG312"),
    ],
)
def test_misuse_of_a_plugin_is_shown_where_it_is(plugin: str, right: str, wrong: str, at: str, code: str) -> None:
    text = plugin.replace(right, wrong)
    with pytest.raises(SpecError) as caught:
        checked(text)
    problem = caught.value.problems[0]
    assert problem.code == code
    assert problem.span.start == text.index(wrong) + wrong.rindex(at)


def test_kind_of_node_of_the_page_works_as_printed(tmp_path: Path) -> None:
    (module,) = blocks(DOCS / "plugins.md", "py")
    with installed("reversal", "gangraph_reversal", module, tmp_path):
        assert "reversal" in load_plugins()
        turned = "logistic.critic(real=D(x), fake=D(reversed_gradient(fake)))"
        (losses, plain) = (
            trainer(small("{update: {g: {minimize: judge}, d: {minimize: judge}}}", judge=judge)).train(steps=2)
            for judge in (turned, "logistic.critic(real=D(x), fake=D(fake))")
        )
    assert losses["judge"] != plain["judge"]


def commands(text: str) -> Iterator[list[str]]:
    """The arguments of the commands that a page shows in a sentence or a block; none of the bare name of one.

    An option in a sentence, such as `gangraph check --fix`, stands for any spec.
    """
    fence = re.compile(r"^```.*?^```$", flags=re.MULTILINE | re.DOTALL)
    for line in re.findall(r"`gangraph ([^`]+)`", fence.sub("", text)):
        name, *arguments = shlex.split(line)
        if arguments:
            yield [name, *["SPEC"] * arguments[0].startswith("-"), *arguments]
    for line in re.findall(r"^(?:\$ )?gangraph (.+)$", "".join(fence.findall(text)), flags=re.MULTILINE):
        yield shlex.split(re.split(r" \| | && | > ", line)[0], comments=True)


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))], ids=lambda path: path.stem)
def test_a_command_that_a_page_shows_has_the_arguments_it_takes(path: Path) -> None:
    program = vars(typer.main.get_command(app))["commands"]
    for name, *arguments in commands(path.read_text()):
        command = program[name]
        if inner := vars(command).get("commands"):
            command, *arguments = inner[arguments[0]], *arguments[1:]
        with command.make_context(name, arguments):
            pass
