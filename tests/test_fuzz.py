"""Two thousand damaged specs: each one is either valid or refused with a report, and in little time."""

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gangraph.compiler.build import build
from gangraph.compiler.check import check
from gangraph.errors import SpecError, UsageError
from gangraph.language.parse import Choice, parse_text
from gangraph.language.resolve import resolve

ROOT = Path(__file__).parent.parent
SMALL = [path.read_text() for path in sorted((ROOT / "tests/fuzz").glob("*.yaml"))]
SHIPPED = [path.read_text() for path in sorted((ROOT / "specs").glob("*.yaml"))]
SECONDS = 30
TOKEN = re.compile(r"[A-Za-z_]\w*|\d+(?:\.\d+)?|[^\w\s]|\s+")
POOL = (
    "0", "-1", "1", "2.5", "1e308", "1e-400", "10 ** 12", "1000000007", "1..10**9", "10**9..1", "9" * 5000, "inf",
    "nan", "1/0", "none", "true", "step", "epoch", "x", "z", "fake", "D", "G", "D(fake)", "G(z)", "fake[0]", "params",
    "params.size", "sum(k for k in 1..9)", "mean", "judge", "(", ")", "[", "]", "{", "}", ":", ": ", "#", " # ", "*",
    "&", "!", "!!python/object:os.system", "&a", "*a", "|", ">", "%", "@", "`", "'", '"', ",", ".", "..", "**", "^",
    "==", "=", "if", "else", "for", "in", "not", "- ", "? ", "---", "...", "\t", "\n", "\r\n", "\\", "\x00", "\x07",
    "\ufeff", "é", "漢字", "🙂", "\u2028", "٣", "²", "[" * 200, "(" * 200, "-" * 500, "{a: " * 100, "1 + " * 400 + "1",
    "a" * 20000, "fake + " * 90 + "fake", "[[k for k in 1..1000] for j in 1..1000]", "history(fake, 50)", "held(x)",
    "detach(fake)", "grad(D(x), x)", "conv2d(10 ** 12, 3)", "conv2d(8, 0)", "linear(10**9)", "linear(-1)",
    "batch_norm", "reshape(3, 5)", "upsample(10**6)", "spectral_norm(linear(8))", "rearrange('a b -> b a')",
    "dropout(2)", "normal(10**12, 10**12)", "uniform(1)", "world(size=16)", "plane(kind='grid')", "adam",
    "clip(D, -1, 1)", "linear(1, 0, end=5 epochs)", "5 steps",
)  # fmt: skip


class Hang(BaseException):
    """A mutation took too long. Not an Exception, so that nothing in the compiler can catch it."""


@contextmanager
def guarded(seconds: int) -> Iterator[None]:
    def ring(signum: int, frame: FrameType | None) -> None:
        raise Hang(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@st.composite
def damaged(draw: st.DrawFn, texts: list[str]) -> str:
    """One of the texts after one to four mutations."""
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.integers(1, 4))):
        text = draw(st.sampled_from(MUTATIONS))(draw, text)
    return text


def _at(draw: st.DrawFn, parts: list[str]) -> int:
    return draw(st.integers(0, max(0, len(parts) - 1)))


def _lines(draw: st.DrawFn, text: str) -> str:
    """Delete, duplicate, swap or indent a line."""
    lines = text.split("\n")
    first, second = _at(draw, lines), _at(draw, lines)
    match draw(st.sampled_from(("delete", "duplicate", "swap", "indent", "dedent"))):
        case "delete":
            del lines[first]
        case "duplicate":
            lines.insert(second, lines[first])
        case "swap":
            lines[first], lines[second] = lines[second], lines[first]
        case "indent":
            lines[first] = "  " + lines[first]
        case "dedent":
            lines[first] = lines[first][1:]
    return "\n".join(lines)


def _token(draw: st.DrawFn, text: str) -> str:
    """Replace a token by another of the text, or by one of the pool."""
    tokens = TOKEN.findall(text)
    if not tokens:
        return draw(st.sampled_from(POOL))
    place = _at(draw, tokens)
    tokens[place] = tokens[_at(draw, tokens)] if draw(st.booleans()) else draw(st.sampled_from(POOL))
    return "".join(tokens)


def _number(draw: st.DrawFn, text: str) -> str:
    """Replace a number by another one, or a name by another name of the text: what stays valid YAML goes deepest."""
    found = list(re.finditer(draw(st.sampled_from((r"\b\d+(?:\.\d+)?\b", r"[A-Za-z_]\w*"))), text))
    if not found:
        return text
    old, new = found[_at(draw, found)], found[_at(draw, found)].group()  # type: ignore[arg-type]
    if old.group()[0].isdigit():
        new = draw(
            st.sampled_from(
                ("0", "1", "2", "3", "5", "0.5", "-1", "16", "1000", "10**9", "1..3", "[2, 2]", "'a'", "none", "1e30")
            )
        )
    return text[: old.start()] + new + text[old.end() :]


def _characters(draw: st.DrawFn, text: str) -> str:
    """Delete a few characters, or insert some."""
    start = draw(st.integers(0, len(text)))
    inserted = draw(st.text(max_size=4)) if draw(st.booleans()) else ""
    return text[:start] + inserted + text[start + draw(st.integers(0, 6)) :]


def _cut(draw: st.DrawFn, text: str) -> str:
    """Only the beginning: at times an empty file."""
    return text[: draw(st.integers(0, len(text)))]


MUTATIONS = (_lines, _token, _token, _number, _number, _number, _characters, _cut)


def examine(text: str, profile: str) -> None:
    """A spec is valid, or refused with a report that can be printed."""
    with guarded(SECONDS):
        try:
            spec = resolve(parse_text(text, name="damaged.yaml", origin=ROOT / "specs"), Choice(profile=profile))
            for phase in spec.phases:
                check(build(phase, spec.broken), spec.problems)
        except (SpecError, UsageError) as error:
            assert str(error)
            assert all(problem.as_json() for problem in getattr(error, "problems", ()))


COMMON = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


@settings(COMMON, max_examples=1700)
@given(text=damaged(SMALL))
def test_damaged_small_specs_are_refused_politely(text: str) -> None:
    examine(text, "paper")


@settings(COMMON, max_examples=300)
@given(text=damaged(SHIPPED))
def test_damaged_shipped_specs_are_refused_politely(text: str) -> None:
    examine(text, "quick")
