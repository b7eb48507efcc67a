"""Every kernel compiles for NVIDIA GPUs, here without one: the interpreter takes what the compiler refuses."""

import pytest

pytest.importorskip("triton")

from gangraph.benchmarks.ahead import CAPABILITIES, SHARED, Compiled, compiled


@pytest.fixture(scope="module")
def found() -> tuple[Compiled, ...]:
    return compiled()


def test_every_configuration_of_every_launch_compiles(found: tuple[Compiled, ...]) -> None:
    assert {each.capability for each in found} == set(CAPABILITIES)
    assert {each.dtype for each in found} == {"float32", "bfloat16"}
    assert [each for each in found if each.error] == []


def test_every_configuration_fits_the_shared_memory_of_its_gpu(found: tuple[Compiled, ...]) -> None:
    assert [each for each in found if each.shared > SHARED[each.capability]] == []


def test_every_launch_has_a_configuration_that_spills_no_registers(found: tuple[Compiled, ...]) -> None:
    launches: dict[tuple[int, int], list[Compiled]] = {}
    for each in found:
        launches.setdefault((each.capability, each.launch), []).append(each)
    assert [launch for launch in launches.values() if all(each.spilled for each in launch)] == []
