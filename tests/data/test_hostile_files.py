"""What a stranger's files may do to a run: nothing but one clear message, soon and in little memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.hostile import LIMIT, MADE

ROOT = Path(__file__).parents[2]
HARMLESS = {
    "png_as_large_as_allowed", "tiff_in_a_circle", "npz_big_endian",
}  # fmt: skip


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, float, float]]:
    place = tmp_path_factory.mktemp("hostile")
    command = [sys.executable, "-m", "tests.data.hostile", str(place)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=True)
    found: dict[str, tuple[str, float, float]] = json.loads(done.stdout)
    return found


def test_every_hostile_file_is_read_or_refused_in_time_and_memory(
    outcomes: dict[str, tuple[str, float, float]],
) -> None:
    assert len(outcomes) == len(MADE) == 115
    assert {name: outcome for name, (outcome, _, _) in outcomes.items() if outcome.startswith("internal")} == {}
    assert {name: seconds for name, (_, seconds, _) in outcomes.items() if seconds > LIMIT} == {}
    assert max(memory for _, _, memory in outcomes.values()) < 1024  # MiB, with torch


def test_every_hostile_file_is_named_by_its_message(outcomes: dict[str, tuple[str, float, float]]) -> None:
    read = {name for name, (outcome, _, _) in outcomes.items() if not outcome.startswith("DataError: ")}
    assert read == HARMLESS
    elsewhere = {"device_as_a_folder", "path_that_is_too_long", "home_of_nobody", "device_as_npz", "device_as_idx"}
    unnamed = [
        name for name, (said, _, _) in outcomes.items() if name not in HARMLESS | elsewhere and f"/{name}" not in said
    ]
    assert unnamed == []
    assert [name for name, (said, _, _) in outcomes.items() if "\n" in said or "\x1b" in said] == []
