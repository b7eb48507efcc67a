"""Thousands of mutated specs: each is valid or refused in a documented way, quickly and in little memory; some are run.

python -m pytest -m long -s tests/long/test_mutations.py -k checked --count 10000
python -m pytest -m long -s tests/long/test_mutations.py -k run --count 300

`--first N` begins at another seed; a failure says its own, and `python -m tests.mutations SEED` prints that mutant.
"""

from pathlib import Path

import pytest

from tests.mutation_outcomes import examine_checks, examine_runs


@pytest.mark.timeout(0)
def test_mutants_are_checked(tmp_path: Path, count: int, first: int) -> None:
    examine_checks(count or 10_000, tmp_path, first=first)


@pytest.mark.timeout(0)
def test_mutants_that_pass_check_run_for_two_steps(tmp_path: Path, count: int, first: int) -> None:
    examine_runs(count or 300, tmp_path, first=first)
