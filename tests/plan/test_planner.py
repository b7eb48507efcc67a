"""The planner: its steps, in order."""

from gangraph.pipeline import check_phase
from gangraph.plan.planner import STEPS, plan
from tests.plan.planning import known, updates
from tests.support import small


def test_a_plan_is_what_the_steps_make_of_what_updates_compute() -> None:
    spec = small()
    assert [step.__name__ for step in STEPS] == ["name_segments", "draw_noise", "merge", "keep", "free"]
    made = plan(check_phase(spec, spec.phases[0]))
    assert made.updates == updates(known()) and made.sources == ("x", "z")


def test_sources_that_no_update_reads_are_not_drawn() -> None:
    spec = small("{update: g, minimize: fool}", fool="mean(fake)")
    assert plan(check_phase(spec, spec.phases[0])).sources == ("z",)
