"""The pages of docs/language: each shows an example, tells its errors, and is found from the reference."""

import re
from pathlib import Path

import pytest

from gangraph.check.phase import Checked
from gangraph.pipeline import check_spec, compile_phase
from tests.support import read

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted((DOCS / "language").glob("*.md"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


def blocks(text: str) -> list[tuple[str, str]]:
    """The code blocks of a page: the language and the text of each."""
    return FENCE.findall(text)


def whole_specs(text: str) -> list[str]:
    """The blocks of a page that are specs, and not pieces of one."""
    return [
        block for language, block in blocks(text) if language in ("yaml", "text") and block.startswith("gangraph: 1")
    ]


def sections(text: str) -> list[str]:
    """The headings below the title of a page, without what looks like one in its code."""
    return re.findall(r"^##+ (.+)$", FENCE.sub("", text), flags=re.MULTILINE)


def complaints(text: str) -> list[str]:
    """What a page of the language lacks."""
    found = []
    if not text.startswith("# "):
        found.append("it begins with a title")
    if not any(language in ("yaml", "text") for language, _ in blocks(text)):
        found.append("it shows an example")
    if not any(re.search(r"\berrors?\b|\bmistakes?\b", section, re.IGNORECASE) for section in sections(text)):
        found.append("it has a section on errors")
    return found


def check(text: str) -> tuple[Checked, ...]:
    """Every phase of a spec, checked and compiled.

    Raises:
        SpecError: the spec is wrong.
    """
    phases = check_spec(read(text))
    assert all(compile_phase(phase).segments for phase in phases)
    return phases


GOOD = """# Samples

```yaml
gangraph: 1
name: points
data: {x: plane(), z: normal(2)}
networks: {G: "mlp(widths=[4], outputs=2)", D: "mlp(widths=[4])"}
values: {fake: G(z)}
losses: {judge: "logistic.critic(real=D(x), fake=D(fake))", fool: logistic.generator(D(fake))}
train:
  batch: 4
  length: 10 steps
  optimizers: {g: "sgd(G, lr=0.1)", d: "sgd(D, lr=0.1)"}
  step: [{update: d, minimize: judge}, {update: g, minimize: fool}]
```

## Errors
"""


def test_a_page_with_everything_passes_and_its_spec_is_found() -> None:
    assert complaints(GOOD) == []
    (spec,) = whole_specs(GOOD)
    assert len(check(spec)) == 1


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ("# Samples", "Samples", "it begins with a title"),
        ("```yaml", "```bash", "it shows an example"),
        ("## Errors", "## More", "it has a section on errors"),
        ("## Errors", "```text\n## Errors\n```", "it has a section on errors"),
    ],
)
def test_what_a_page_lacks_is_noticed(right: str, wrong: str, complaint: str) -> None:
    assert complaints(GOOD.replace(right, wrong, 1)) == [complaint]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_a_title_an_example_and_a_section_on_errors(page: Path) -> None:
    assert complaints(page.read_text()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_linked_from_the_reference(page: Path) -> None:
    assert f"](language/{page.name}" in (DOCS / "language.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_whole_specs_of_a_page_pass_check_without_a_warning(page: Path) -> None:
    for number, text in enumerate(whole_specs(page.read_text()), 1):
        lints = [lint for phase in check(text) for lint in phase.lints]
        assert lints == [], f"spec {number} of {page.name}"


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "```output" in page.read_text()], ids=lambda page: page.stem
)
def test_the_program_of_a_page_prints_what_it_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {language: text for language, text in blocks(page.read_text()) if language in ("python", "output")}
    (spec,) = whole_specs(page.read_text())
    name = re.search(r"^name: (\w+)$", spec, flags=re.MULTILINE)
    assert name is not None
    (tmp_path / f"{name[1]}.yaml").write_text(spec)
    monkeypatch.chdir(tmp_path)
    exec(found["python"], {})
    assert capsys.readouterr().out == found["output"]
