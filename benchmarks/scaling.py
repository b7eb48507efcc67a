"""How long the compiler takes for specs of very many values. Run as `python benchmarks/scaling.py [VALUES ...]`.

Two forms, each of as many nodes as the first column says: chains of values that are computed from each other, as long
as a spec may have them, and a fan of values that are independent of each other and summed. Every row is a process of
its own; times are seconds, and the last column is the most memory that the process had in all.
"""

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parent.parent))

from gangraph.build.phase import build
from gangraph.check.phase import check
from gangraph.language.document.parse import Choice, parse_text
from gangraph.language.resolve.document import resolve
from gangraph.language.spec import Spec
from gangraph.lower.phase import lower
from gangraph.plan.planner import plan

STAGES = ("load", "build", "check", "plan", "lower")
LENGTH = 40  # values in a chain
TERMS = 40  # in a sum

SPEC = """
gangraph: 1
name: scaling
data: {{x: plane(), z: normal(2)}}
networks:
  G: {{inputs: z, layers: "{layers}"}}
  D: {{inputs: x, layers: "linear(8), tanh, linear(1)"}}
values:
  fake: G(z)
{values}
losses:
  judge: logistic.critic(real=D(x), fake=D(total))
  fool: logistic.generator(D(total))
train:
  batch: 4
  length: 10 steps
  optimizers: {{d: "adam(D, lr=1e-3)", g: "adam(G, lr=1e-3)"}}
  step: [{step}]
"""
UPDATES = "{update: d, minimize: judge}", "{update: g, minimize: fool}"


def written(values: str, *, updates: int = 2, layers: str = "linear(8), tanh, linear(2)") -> Spec:
    """A spec with some values and layers, whose step has an update of D and then updates of G."""
    step = ", ".join(UPDATES[min(number, 1)] for number in range(updates))
    return resolve(parse_text(SPEC.format(values=values, layers=layers, step=step)), Choice())


def chains(count: int) -> Iterator[str]:
    """Chains that begin at the same value and differ from their first link on, and the sum of their ends."""
    number, ends = 0, []
    while number < count:
        length = min(LENGTH, count - number)
        yield f"  v{number}: fake * {1 + number / count:.6f}"
        for place in range(number + 1, number + length):
            yield f"  v{place}: tanh(v{place - 1})" if place % 2 else f"  v{place}: v{place - 1} + x"
        number += length
        ends.append(f"v{number - 1}")
    yield from sums(ends)


def fan(count: int) -> Iterator[str]:
    """Half as many values that do not depend on each other, and their sum, which takes the other half."""
    names = [f"v{number}" for number in range(count // 2)]
    yield from (f"  {name}: fake * {1 + number / count:.6f}" for number, name in enumerate(names))
    yield from sums(names)


def sums(names: list[str], level: int = 0) -> Iterator[str]:
    """The sum of some values, by way of sums of a few of them each."""
    if len(names) <= TERMS:
        yield f"  total: {' + '.join(names)}"
        return
    parts = [names[start : start + TERMS] for start in range(0, len(names), TERMS)]
    yield from (f"  s{level}_{number}: {' + '.join(part)}" for number, part in enumerate(parts))
    yield from sums([f"s{level}_{number}" for number in range(len(parts))], level + 1)


FORMS = {"chains": chains, "fan": fan}


def measure(form: str, count: int) -> dict[str, float]:
    """Seconds by stage, and the peak of memory in MB."""
    values = "\n".join(FORMS[form](count))
    times = [perf_counter()]
    spec = written(values)
    times.append(perf_counter())
    graph = build(spec.phases[0], spec.broken)
    times.append(perf_counter())
    checked = check(graph, spec.problems)
    times.append(perf_counter())
    planned = plan(checked)
    times.append(perf_counter())
    lower(planned)
    times.append(perf_counter())
    found = {stage: times[i + 1] - times[i] for i, stage in enumerate(STAGES)}
    return {**found, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("values", nargs="*", type=int, default=[500, 1000, 2000, 5000])
    parser.add_argument("--one", choices=FORMS, help="measure one form in this process, and print JSON")
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure(asked.one, asked.values[0])))
        return
    print(f"{'values':>7}  {'form':<7}" + "".join(f"{stage:>8}" for stage in (*STAGES, "all")) + f"{'peak MB':>9}")
    for form in FORMS:
        for count in asked.values:
            command = [sys.executable, __file__, str(count), "--one", form]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            seconds = [found[stage] for stage in STAGES]
            row = "".join(f"{each:8.2f}" for each in (*seconds, sum(seconds)))
            print(f"{count:>7}  {form:<7}{row}{found['peak']:>9.0f}", flush=True)


if __name__ == "__main__":
    main()
