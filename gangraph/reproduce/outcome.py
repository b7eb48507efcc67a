"""What a reproduction found: the numbers of every run, the paper's tables and the verdicts, as plain data in JSON."""

import json
import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gangraph.language.spec import Reported
from gangraph.saved.files import json_text, write_whole

FILE = "reproduction.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """One measured quantity of one variant over the seeds; None where it could not be measured, and why."""

    values: tuple[float | None, ...]
    protocol: Mapping[str, Any]
    why: str = ""

    @property
    def known(self) -> tuple[float, ...]:
        """The values that were measured."""
        return tuple(value for value in self.values if value is not None)

    @property
    def mean(self) -> float | None:
        """Mean over the seeds that were measured."""
        return statistics.fmean(self.known) if self.known else None

    @property
    def spread(self) -> float | None:
        """Standard deviation over the seeds that were measured; needs two."""
        return statistics.stdev(self.known) if len(self.known) > 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantOutcome:
    """One column of the ablation: a variant, the folders of its runs by seed, and its numbers by name."""

    name: str
    runs: tuple[str, ...]  # relative to the reproduction's folder, one a seed
    numbers: Mapping[str, Number]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One claim judged. Without a number that it needs there are no margins, and `why` names the number."""

    say: str
    source: str
    check: str
    margins: tuple[float, ...]  # one a seed; above 0 where the claim holds by that seed alone
    untrained: tuple[float, ...] = ()  # those of networks before their first step; none where that has no meaning
    why: str = ""
    note: str = ""  # what the spec's author knows about it

    @property
    def judged(self) -> bool:
        """Whether everything that the claim needs was measured."""
        return bool(self.margins)

    @property
    def margin(self) -> float:
        """Mean of the margins over the seeds."""
        return statistics.fmean(self.margins)

    @property
    def spread(self) -> float | None:
        """Standard deviation of the margins over the seeds; needs two."""
        return statistics.stdev(self.margins) if len(self.margins) > 1 else None

    @property
    def held(self) -> bool:
        """Whether the claim is true for the mean over the seeds and for most seeds by themselves, and is not void."""
        return _holds(self.margins) and not self.void

    @property
    def void(self) -> bool:
        """Whether it holds for untrained networks too, so that it shows nothing."""
        return self.judged and _holds(self.untrained)

    @property
    def agreeing(self) -> int:
        """For how many seeds it is true by themselves."""
        return sum(margin > 0 for margin in self.margins)


def _holds(margins: Sequence[float]) -> bool:
    return bool(margins) and statistics.fmean(margins) > 0 and 2 * sum(one > 0 for one in margins) > len(margins)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A reproduction: what was run, what was measured, and what became of the claims."""

    name: str
    profile: str
    about: str
    paper: Mapping[str, str]
    spec: str  # the text of the spec
    origin: str  # the file that it came from
    seeds: tuple[int, ...]
    variants: tuple[VariantOutcome, ...]
    reported: tuple[Reported, ...]
    verdicts: tuple[Verdict, ...]
    deviations: tuple[str, ...]  # where the profile differs from the paper's settings, a sentence each
    environment: Mapping[str, Any]
    seconds: float  # of training and measuring, all runs together
    settings: Mapping[str, str] = field(default_factory=dict)  # values by path, as `--set` had them

    @property
    def command(self) -> str:
        """What a person types to run it again."""
        words = ["gangraph", "reproduce", self.name, "--profile", self.profile, "--seeds", str(len(self.seeds))]
        words += [word for path, value in self.settings.items() for word in ("--set", f"{path}={value}")]
        return shlex.join(words)

    def save(self, folder: Path) -> Path:
        """Write `reproduction.json`, whole or not at all."""
        return write_whole(folder / FILE, json_text(asdict(self), indent=1))


def read_outcome(folder: Path) -> Outcome:
    """The outcome that a reproduction's folder holds. Raises OSError, ValueError where it holds none."""
    data = json.loads((folder / FILE).read_text(encoding="utf-8"))
    return Outcome(
        **{
            **data,
            "seeds": tuple(data["seeds"]),
            "deviations": tuple(data["deviations"]),
            "variants": tuple(_variant(item) for item in data["variants"]),
            "reported": tuple(Reported(**item) for item in data["reported"]),
            "verdicts": tuple(_verdict(item) for item in data["verdicts"]),
        }
    )


def _verdict(data: Mapping[str, Any]) -> Verdict:
    margins, untrained = tuple(data["margins"]), tuple(data.get("untrained", ()))  # older outcomes have none
    return Verdict(**{**data, "margins": margins, "untrained": untrained})


def _variant(data: Mapping[str, Any]) -> VariantOutcome:
    numbers = {name: Number(**{**item, "values": tuple(item["values"])}) for name, item in data["numbers"].items()}
    return VariantOutcome(name=data["name"], runs=tuple(data["runs"]), numbers=numbers)
