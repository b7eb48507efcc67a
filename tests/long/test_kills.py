"""A hundred runs that are killed, and resumed to the bits of one that was not; a fifth of them in the middle of a save.

`python -m pytest -m long tests/long/test_kills.py --count 100`
"""

import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import Queue

import pytest

from tests.kills import FORMS, Server, Whole, check_kill, server, whole_of

COUNT, WORKERS = 100, 2


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: a disk makes hundreds of saves wait."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(dir=memory))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.timeout(6 * 3600)
def test_killed_runs_resume_to_the_same_bits(place: Path, request: pytest.FixtureRequest) -> None:
    count = request.config.getoption("--count") or COUNT
    killed = {"at random": 0, "in a save": 0, "too late": 0}
    with ExitStack() as stack:
        servers = [stack.enter_context(server()) for _ in range(WORKERS)]
        wholes = {form: whole_of(servers[0], form, place / form) for form in FORMS}
        free = Queue[Server]()
        for each in servers:
            free.put(each)

        def kill(number: int) -> None:
            form, how = [*FORMS][number % len(FORMS)], "in a save" if number // len(FORMS) % 5 == 0 else "at random"
            made = free.get()
            try:
                early = _kill(made, form, wholes[form], place / f"{number}", random.Random(number), how)
            finally:
                free.put(made)
            killed[how if early else "too late"] += 1
            sys.stdout.write(f"{number + 1}/{count} {form} {how}: {killed}\n")
            sys.stdout.flush()

        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(kill, range(count)))
    assert killed["in a save"] == -(-count // 20) * 4 or count % 20
    assert sum(killed.values()) == count


def _kill(made: Server, form: str, whole: Whole, folder: Path, chance: random.Random, how: str) -> bool:
    at = chance.randint(1, whole.operations * 9 // 10) if how == "in a save" else 0
    after = None if at else chance.uniform(0.1, 1.0) * whole.seconds
    early = check_kill(made, form, whole, folder, at=at, after=after)
    shutil.rmtree(folder, ignore_errors=True)
    for ending in ("log", "count"):
        folder.with_name(f"{folder.name}.{ending}").unlink(missing_ok=True)
    return early
