"""The four plans of random specs, with every layer that keeps state: all losses, parameters and buffers agree.

`python -m pytest -m long -s tests/long/test_plans_agree.py --count 2000` compares 2,000 specs over 20 steps each, in
float64, from the seed in GANGRAPH_SEED on (0 without it), and prints how often each feature occurred. Plans of a spec
that are the same program are run once, and a spec of which all four are the same is not counted. Seeds whose spec
breaks a rule over several of its parts are passed over.
"""

import os
import time
from collections import Counter

import pytest
import torch

from gangraph.errors import SpecError
from tests.plans import compare
from tests.random_pieces import FEATURES
from tests.random_state import make, require_unforeseen

STEPS = 20


def _say(text: str) -> None:
    """What the command shows while it runs."""
    print(text, flush=True)  # noqa: T201  # with -s, it is read


@pytest.mark.timeout(0)
def test_the_four_plans_of_random_specs_agree(request: pytest.FixtureRequest) -> None:
    count = request.config.getoption("--count") or 20
    torch.set_num_threads(1)
    seed, began, largest = int(os.environ.get("GANGRAPH_SEED", "0")), time.monotonic(), 0.0
    found, features, failures = Counter[str](), Counter[str](), list[str]()
    while found["compared"] < count:
        try:
            made = make(seed)
            result = compare(made.spec, STEPS, alone=False, given=made.given)
        except SpecError as error:
            require_unforeseen(error)
            found["passed over"] += 1
            seed += 1
            continue
        except Exception as error:  # whatever a run ends with is one more spec to look at
            failures.append(f"seed {seed}: {type(error).__name__}: {error}")
            _say(failures[-1])
        else:
            if len(result.trainers) == 1:
                found["have one plan only"] += 1
                seed += 1
                continue
            largest = max(largest, result.largest)
            found[f"{len(result.trainers)} programs"] += 1
            found["ended in NaN in every plan"] += result.stopped
            if result.difference:
                failures.append(f"seed {seed}: {result.difference}")
                _say(failures[-1])
        features.update(made.features)
        found["compared"] += 1
        seed += 1
        if found["compared"] % 20 == 0:
            _say(f"{dict(found)} up to seed {seed}, {time.monotonic() - began:.0f} s")
    _say(f"{dict(found)}, largest difference {largest:.2g}")
    _say(str({name: features[name] for name in FEATURES}))
    assert not failures, "\n".join(failures)
    assert count < 200 or not set(FEATURES) - set(features), set(FEATURES) - set(features)
