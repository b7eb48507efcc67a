"""A few runs that are killed, and resumed to the same bits; `tests/long/test_kills.py` takes a hundred."""

from pathlib import Path

from tests.kills import check_kill, server, whole_of


def test_runs_killed_in_a_save_and_between_resume_to_the_same_bits(tmp_path: Path) -> None:
    form = "everything"  # phases, gates, histories
    with server() as made:
        whole = whole_of(made, form, tmp_path / "whole")
        for number, share in enumerate((0.1, 0.4, 0.8)):
            at = int(share * whole.operations)
            assert check_kill(made, form, whole, tmp_path / f"save-{number}", at=at)
            check_kill(made, form, whole, tmp_path / f"{number}", after=share * whole.seconds)
