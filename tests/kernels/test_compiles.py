"""Every kernel compiles for NVIDIA GPUs, here without one: the interpreter takes what the compiler refuses."""

import pytest

pytest.importorskip("triton")

from gangraph.benchmarks.ahead import CAPABILITIES, Compiled, compiled


@pytest.fixture(scope="module")
def found() -> tuple[Compiled, ...]:
    return compiled()


def test_every_launch_compiles(found: tuple[Compiled, ...]) -> None:
    assert {each.capability for each in found} == set(CAPABILITIES)
    assert {each.dtype for each in found} == {"float32", "bfloat16"}
    assert [each for each in found if each.error] == []


def test_every_launch_has_a_configuration_that_fits_registers_and_shared_memory(found: tuple[Compiled, ...]) -> None:
    launches: dict[tuple[int, int], list[Compiled]] = {}
    for each in found:
        launches.setdefault((each.capability, each.launch), []).append(each)
    assert [tried for tried in launches.values() if not any(each.fits for each in tried)] == []
