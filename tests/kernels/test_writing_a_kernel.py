"""The page docs/writing_a_kernel.md is true: the files it shows agree, compile, and are used by the engine."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import fx
from torch._library.custom_ops import OPDEF_TO_LIB

pytest.importorskip("triton")

from gangraph.benchmarks.agreement import check
from gangraph.kernels import catalogue
from gangraph.language.spec import Spec
from gangraph.lower import fusing
from gangraph.pipeline import check_spec, compile_phase
from gangraph.registry import vocabulary
from gangraph.views.plan import plan_text
from tests.kernels import test_agreement as general
from tests.support import deviation, read, snapshot, trainer, worst

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "writing_a_kernel.md").read_text()
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
EXACT = 1e-11  # in float64: the kernels sum in another order

KERNEL, BENCH, TEST = "kernels/pixel_unit.py", "benchmarks/kernels/pixel_unit.py", "tests/kernels/test_pixel_unit.py"
PLUGIN, COMPILE = "gangraph_pixel_unit.py", "compile_pixel_unit.py"
MODULES = {
    KERNEL: "gangraph.kernels.pixel_unit",
    BENCH: "gangraph.benchmarks.pixel_unit",
    TEST: "tests.kernels.test_pixel_unit",
    PLUGIN: "gangraph_pixel_unit",
}

pytestmark = pytest.mark.skipif(
    (ROOT / KERNEL).exists(), reason="somebody follows the page: its operators are registered already"
)


def blocks(language: str) -> list[str]:
    """The code blocks of the page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def files() -> dict[str, str]:
    """The files of the page by the name in their first line; a file may come in several blocks."""
    found: dict[str, str] = {}
    for block in blocks("python"):
        name, _, text = block.removeprefix("# ").partition("\n")
        found[name] = f"{found[name]}\n\n{text}" if name in found else text
    return found


OWN_TESTS = re.findall(r"^def (test_\w+)", files()[TEST], flags=re.MULTILINE)


def load(name: str, path: str | Path) -> ModuleType:
    """Import a file as the module of this name, so that its relative imports work."""
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Written:
    """The files in a folder, and the first three as modules."""

    folder: Path
    kernel: ModuleType
    bench: ModuleType
    test: ModuleType


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Written]:
    """Afterwards neither the modules nor the operators are there."""
    folder = tmp_path_factory.mktemp("page")
    for name, text in files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    try:
        yield Written(folder, *(load(MODULES[name], folder / name) for name in (KERNEL, BENCH, TEST)))
    finally:
        for name in MODULES.values():
            sys.modules.pop(name, None)
        for operator in [name for name in OPDEF_TO_LIB if name.startswith("gangraph::pixel_unit")]:
            OPDEF_TO_LIB.pop(operator)._destroy()


@pytest.fixture
def op(written: Written, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., torch.Tensor]]:
    """The op of the page's plug-in, while kernel and name are known to the engine."""
    names = set(vocabulary)
    monkeypatch.setattr(fusing, "catalogue", lambda: (*catalogue(), *written.kernel.KERNELS))
    try:
        yield load(MODULES[PLUGIN], written.folder / PLUGIN).pixel_unit
    finally:
        for name in set(vocabulary) - names:
            del vocabulary._definitions[name]
        sys.modules.pop(MODULES[PLUGIN], None)


# -------------------------------------------------------------------------------------------------- the three files


def test_every_block_of_python_belongs_to_a_file() -> None:
    assert files().keys() == {*MODULES, COMPILE}


def test_every_row_of_its_entry_agrees(written: Written) -> None:
    found = [check(entry, row, DEVICE) for entry in written.bench.ENTRIES for row in entry.rows]
    assert {each.row.name: each.message for each in found if not each.passed} == {}


def test_its_entry_satisfies_the_general_tests(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(general.BY_KERNEL, "pixel_unit", list(written.bench.ENTRIES))
    general.test_rows_cover_types_and_layouts("pixel_unit")
    assert {entry.kernel.name for entry in written.bench.ENTRIES} == {kernel.name for kernel in written.kernel.KERNELS}


def test_its_own_tests_cover_order_and_operators() -> None:
    assert {"test_a_second_order_is_an_error", "test_they_are_proper_operators"} <= set(OWN_TESTS)


@pytest.mark.parametrize("name", OWN_TESTS)
def test_its_own_tests_pass(written: Written, name: str) -> None:
    getattr(written.test, name)()


def test_it_compiles_for_a_gpu_that_is_not_here(written: Written) -> None:
    """By the page's script, in a process that does not run the interpreter."""
    places = [(MODULES[name], str(written.folder / name)) for name in (KERNEL, BENCH)]
    start = f"from {__name__.rpartition('.')[2]} import load\nfor each in {places!r}: load(*each)\n"
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), str(ROOT), *sys.path])
    command = [sys.executable, "-c", start + files()[COMPILE]]
    done = subprocess.run(command, env=environment, cwd=written.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert {line.partition(" | ")[0] for line in lines} == {
        "_pixel_unit_forward_kernel",
        "_pixel_unit_backward_kernel",
    }
    assert [line for line in lines if not re.search(r"\| \d+ registers, \d+ bytes spilled$", line)] == []


# ------------------------------------------------------------------------------------------------------- the engine


def graph_of(op: Callable[..., torch.Tensor], **options: float) -> fx.Graph:
    graph = fx.Graph()
    graph.output(graph.call_function(op, (graph.placeholder("x"),), options))
    return graph


def called(graph: fx.Graph) -> list[tuple[object, dict[str, object]]]:
    return [(node.target, dict(node.kwargs)) for node in graph.nodes if node.op == "call_function"]


@pytest.mark.parametrize(("written_in_spec", "passed"), [({}, {}), ({"eps": 0.5}, {"eps": 0.5})], ids=["bare", "eps"])
def test_engine_places_it(
    op: Callable[..., torch.Tensor], written: Written, written_in_spec: dict[str, float], passed: dict[str, float]
) -> None:
    graph = graph_of(op, **written_in_spec)
    (fusion,) = fusing.fuse(graph)
    assert (fusion.kernel, fusion.computes, fusion.why_not) == ("pixel_unit", ("pixel_unit",), "")
    assert called(graph) == [(written.kernel.pixel_unit, passed)]


def test_engine_leaves_it_where_it_is_differentiated_twice(op: Callable[..., torch.Tensor]) -> None:
    graph = graph_of(op)
    (fusion,) = fusing.fuse(graph, times=lambda _: 2)
    assert fusion.why_not == "it is differentiated twice, and the kernel has order 1"
    assert called(graph) == [(op, {})]


def spec() -> Spec:
    (text,) = (block for block in blocks("text") if block.startswith("gangraph: 1"))
    return read(text)


@pytest.mark.usefixtures("op")
def test_plan_of_its_spec_is_the_one_on_the_page() -> None:
    (shown,) = (block for block in blocks("text") if block.startswith("  kernels on CUDA"))
    (phase,) = check_spec(spec())
    assert phase.lints == ()
    assert shown in plan_text(compile_phase(phase, kernels="auto"))


@pytest.mark.usefixtures("op")
def test_its_spec_trains_the_same_with_kernels_and_without() -> None:
    fused, plain = (trainer(spec(), kernels=kernels, device=DEVICE) for kernels in ("on", "off"))
    for _ in range(2):
        found, expected = fused.step(), plain.step()
        assert worst(deviation(found[name], expected[name]) for name in expected) <= EXACT
    mine, theirs = snapshot(fused.networks), snapshot(plain.networks)
    assert worst(deviation(mine[name], theirs[name]) for name in theirs) <= EXACT
