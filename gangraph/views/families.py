"""Members of a family that say the same but for their index, written once with a letter in the place of the index."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gangraph.errors import listed

LEAST = 3  # members: fewer are written one by one
LETTERS = "kjlmn"  # not `i`, which counts the steps of a lookahead


@dataclass(frozen=True, slots=True)
class Indices:
    """How a notation writes the index of a member: what finds one in a text, and what stands in its place."""

    pattern: re.Pattern[str]
    written: str


IN_SPECS = Indices(re.compile(r"(?<=[\w\]])\[(-?\w+)\]"), "[{}]")


@dataclass(frozen=True, slots=True)
class IndexedTexts:
    """Texts that are equal but for an index: `text` has the letter in its place, and `places` says which they were.

    A text that no others are like has no letter and no indices, and one place.
    """

    text: str
    places: tuple[int, ...]
    letter: str = ""
    indices: tuple[str, ...] = ()

    @property
    def ends(self) -> tuple[str, str] | None:
        """The first and the last index of a range of whole numbers; None for other indices, or none."""
        if not self.indices or not all(re.fullmatch(r"-?\d+", index) for index in self.indices):
            return None
        first, last = int(self.indices[0]), int(self.indices[-1])
        return (f"{first}", f"{last}") if last - first == len(self.indices) - 1 else None

    @property
    def domain(self) -> str:
        """The indices as a spec writes them: `0..4`, or `[red, green, blue]`."""
        return "..".join(self.ends) if self.ends is not None else f"[{', '.join(self.indices)}]"

    @property
    def over(self) -> str:
        """`k in 0..4`."""
        return f"{self.letter} in {self.domain}"


def families(texts: Sequence[str], notation: Indices = IN_SPECS) -> tuple[IndexedTexts, ...]:
    """Texts with those written once that differ in their index alone, each where the first of them stood."""
    letter = _letter(texts)
    shapes = [{_with_letter(text, i, letter, notation): i for i in notation.pattern.findall(text)} for text in texts]
    alike: dict[str, dict[str, int]] = {}  # texts with the letter for one of their indices: these, and their places
    for place, each in enumerate(shapes if letter else ()):
        for shape, index in each.items():
            alike.setdefault(shape, {}).setdefault(index, place)
    found, taken = list[IndexedTexts](), set[int]()
    for place, text in enumerate(texts):
        if place not in taken:
            free = ((shape, {i: at for i, at in alike[shape].items() if at not in taken}) for shape in shapes[place])
            shape, members = max(free if letter else (), key=lambda found: len(found[1]), default=("", {}))
            indices = _in_order(members) if len(members) >= LEAST and place in members.values() else ()
            one = IndexedTexts(shape, tuple(members[index] for index in indices), letter, indices)
            found.append(one if indices else IndexedTexts(text, (place,)))
            taken.update(found[-1].places)
    return tuple(found)


def _letter(texts: Iterable[str]) -> str:
    """A letter that stands in none of the texts as a word; none if all do."""
    every = "\n".join(texts)
    free = (letter for letter in LETTERS if not re.search(rf"(?<![^\W_\\]){letter}(?![^\W_])", every))
    return next(free, "")


def _with_letter(text: str, index: str, letter: str, notation: Indices) -> str:
    """A text with a letter in each place of one index."""
    return notation.pattern.sub(lambda m: notation.written.format(letter) if m[1] == index else m[0], text)


def _in_order(indices: Iterable[str]) -> tuple[str, ...]:
    """Whole numbers by their size; names as they come."""
    every = tuple(indices)
    return tuple(sorted(every, key=int)) if all(re.fullmatch(r"-?\d+", each) for each in every) else every


def listed_once(texts: Iterable[str]) -> str:
    """`G, F[0] to F[4] and D`, or `G(x), and F[k](x[k]) for k in 0..4`: a list with families written once."""
    alone, over = list[str](), dict[str, list[str]]()
    for family in families([*texts]):
        if short := _in_short(family):
            alone.append(short)
        else:
            over.setdefault(family.over, []).append(family.text)
    together = [f"{listed(members)} for {domain}" for domain, members in over.items()]
    return listed([*alone, *together]) if len(alone) < 2 else ", and ".join([listed(alone), *together])


def items_once(items: Iterable[str]) -> list[str]:
    """The items of a list with families written once: `h[k] = x[k] - y[k] for k in 0..2`, or `F[0] to F[4]`."""
    return [_in_short(family) or f"{family.text} for {family.over}" for family in families([*items])]


def sentences_once(sentences: Iterable[str]) -> Iterator[str]:
    """Sentences with those written once that differ in an index alone: `D[k] has changed, for each k in 0..2.`."""
    for family in families([*sentences]):
        yield f"{family.text.removesuffix('.')}, for each {family.over}." if family.letter else family.text


def _in_short(family: IndexedTexts) -> str:
    """A text by itself as it is, and names in a range by both ends: `F[0] to F[4]`; nothing for other families."""
    if family.ends is not None and re.fullmatch(r"[\w.]+(\[-?\w+\])+", family.text):
        return " to ".join(family.text.replace(f"[{family.letter}]", f"[{end}]") for end in family.ends)
    return "" if family.letter else family.text
