"""Every row of every kernel agrees with the reference, and the comparison notices each kind of mistake."""

import pytest
import torch

pytest.importorskip("triton")

from gangraph.benchmarks.agreement import check, poisoned, prepare
from gangraph.benchmarks.entry import Entry, Row, entries
from gangraph.benchmarks.results import by_kernel, dtype_name
from gangraph.kernels import catalogue
from tests.kernels.fake import FAULTS, entry

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LEAST_ROWS = 40
BY_KERNEL = by_kernel(entries())
CASES = [
    pytest.param(each, row, id=f"{name}-{row.name}-{dtype_name(row.dtype)}-{row.layout}".replace(" ", "_"))
    for name, every in BY_KERNEL.items()
    for each in every
    for row in each.rows
]


@pytest.mark.parametrize(("each", "row"), CASES)
def test_kernel_agrees_with_its_reference(each: Entry, row: Row) -> None:
    assert check(each, row, DEVICE).message == ""


def test_every_kernel_has_an_entry() -> None:
    assert {kernel.name for kernel in catalogue()} == BY_KERNEL.keys()


@pytest.mark.parametrize("name", [kernel.name for kernel in catalogue()])
def test_rows_cover_types_and_layouts(name: str) -> None:
    rows = [row for each in BY_KERNEL.get(name, ()) for row in each.rows]
    assert len(rows) >= LEAST_ROWS
    assert {row.dtype for row in rows} == {torch.float32, torch.float64, torch.float16, torch.bfloat16}
    assert {row.layout for row in rows} == {"contiguous", "channels_last", "strided"}
    assert any(each.timed for each in BY_KERNEL[name])


def test_a_right_kernel_passes() -> None:
    for row in entry().rows:
        found = check(entry(), row, DEVICE)
        assert found.message == ""
        assert found.errors.keys() == {"output", "gradient of x", "gradient of scale"}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_kernel_is_caught(fault: str) -> None:
    found = check(entry(fault), entry().rows[0], DEVICE)
    assert not found.passed
    assert FAULTS[fault] in found.message


def test_a_gradient_that_is_zero_is_compared_with_the_incoming_one() -> None:
    row = Row("zero", (2, 3, 4, 5), options={"power": 0})
    assert "gradient of x is off by" in check(entry(), row, DEVICE).message
    assert "gradient of x" not in check(entry(), row, DEVICE, impl="reference").message


def test_inputs_have_the_type_and_layout_of_the_row() -> None:
    for layout, strides in {
        "contiguous": (60, 20, 5, 1),
        "channels_last": (60, 1, 15, 3),
        "strided": (240, 40, 10, 2),
    }.items():
        inputs = prepare(entry(), Row("", (2, 3, 4, 5), torch.float16, layout), DEVICE)  # type: ignore[arg-type]
        x, scale = inputs["x"], inputs["scale"]
        assert inputs["shift"] is None
        assert x is not None
        assert scale is not None
        assert x.stride() == strides
        assert x.is_leaf
        assert x.requires_grad
        assert x.dtype is scale.dtype is torch.float16
    between = x.detach().as_strided((2, 3, 4, 5), x.stride(), 1)
    assert between[:, :, :, :4].isnan().all()


def test_poison_is_in_new_memory_and_gone_afterwards() -> None:
    x = torch.zeros(2, 2)
    with poisoned():
        made = [torch.empty(2), torch.empty_like(x), x.new_empty(3), torch.empty_strided((2,), (1,))]
        assert all(each.isnan().all() for each in made)
        assert torch.empty(1, dtype=torch.int32).item() == 2**31 - 1
    assert torch.empty.__module__ is None or "agreement" not in torch.empty.__module__
    assert "new_empty" not in vars(torch.Tensor)
