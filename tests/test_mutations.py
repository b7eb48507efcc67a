"""The short form of `tests/long/test_mutations.py`, which has the commands for thousands."""

from pathlib import Path

from tests.mutation_outcomes import examine_checks, examine_runs


def test_sixty_mutated_specs_are_valid_or_refused_in_a_documented_way(tmp_path: Path) -> None:
    examine_checks(60, tmp_path)


def test_mutated_specs_that_pass_check_do_not_die_in_their_first_steps(tmp_path: Path) -> None:
    examine_runs(3, tmp_path, first=100_000)
