"""Checks that the code of every segment takes, calls and gives what is listed for it."""

from collections.abc import Iterator

from gangraph.graph.verify import raise_first
from gangraph.lower.model import Lowered, Program


def verify_program(program: Program) -> None:
    """Make sure that every segment of a plan has code, and that the code is the segment's.

    1. It has a placeholder for each value that it reads, and gives as many as it writes.
    2. It reads what the segment reads, and writes what that gives.
    3. What it calls is what it lists: forms of networks, and the steps that the segment looks ahead.

    Raises:
        InvariantError: with the first rule that is broken, and where.
    """
    raise_first(_broken(program))


def _broken(program: Program) -> Iterator[str]:
    for update in program.plan.step:
        for segment in update.segments:
            if segment.name not in program.segments:
                yield f"segment '{segment.name}' has no code"
    looked = [each.code for each in (program.evaluation, program.measurement, *program.pictures.values()) if each]
    starts = [program.starts] if program.starts is not None else []
    for lowered in (*program.segments.values(), *looked, *starts):
        yield from (f"the code of '{lowered.segment.name}' {told}" for told in _code(lowered))


def _code(lowered: Lowered) -> Iterator[str]:
    taken = [node for node in lowered.graph.nodes if node.op == "placeholder"]
    if len(taken) != len(lowered.reads) + bool(lowered.segment.moved):
        yield f"takes {len(taken)} values, and reads {len(lowered.reads)}"
    if missing := set(lowered.segment.inputs) - set(lowered.reads):
        yield f"does not read {', '.join(sorted(missing))}"
    (given,) = (node.args[0] for node in lowered.graph.nodes if node.op == "output")
    if not isinstance(given, tuple) or len(given) != len(lowered.writes):
        yield f"does not give the {len(lowered.writes)} values that it writes"
    if missing := set(lowered.segment.outputs) - set(lowered.writes):
        yield f"does not write {', '.join(sorted(missing))}"
    called = {str(node.target) for node in lowered.graph.nodes if node.op == "call_module"}
    if called != set(lowered.called):
        yield f"calls {', '.join(sorted(called ^ set(lowered.called)))}, which it does not list, or lists in vain"
