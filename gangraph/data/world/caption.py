"""Scenes to sentences of a small grammar, and to token ids: words, or letters.

    sentence = thing place? ground? light? | "on" backdrop thing place? light?
    thing    = "a" size? texture? hue shape
    place    = "at the" ("top" | "bottom")? ("left" | "right")? | "in the middle"
    ground   = "on" backdrop
    backdrop = "a" texture? hue ("background" | "ground" | "backdrop")
    light    = "in" ("soft" | "strong") ("light" | "shade")

Every word has synonyms. The hue and the shape of the object are always named; the rest may be left out.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gangraph.data.world.scene import FACTORS, Scene

LENGTH = 20  # tokens; the longest sentence has 18 words and an end
MOST_LETTERS = 129  # the longest sentence has 110 and an end
PAD, END = "<pad>", "<end>"

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "disc": ("disc", "circle"),
    "square": ("square", "box"),
    "triangle": ("triangle", "wedge"),
    "star": ("star", "pentagram"),
    "cross": ("cross", "plus"),
    "ring": ("ring", "hoop"),
    "red": ("red", "crimson"),
    "orange": ("orange", "tangerine"),
    "yellow": ("yellow", "golden"),
    "green": ("green", "emerald"),
    "teal": ("teal", "turquoise"),
    "blue": ("blue", "azure"),
    "purple": ("purple", "violet"),
    "pink": ("pink", "rosy"),
    "plain": ("plain", "smooth"),
    "stripes": ("striped", "banded"),
    "dots": ("dotted", "spotted"),
    "checks": ("checked", "chequered"),
    "grain": ("grainy", "speckled"),
    "small": ("small", "little"),
    "large": ("large", "big"),
    "ground": ("background", "ground", "backdrop"),
    "soft": ("soft", "gentle"),
    "strong": ("strong", "harsh"),
    "light": ("light", "shade"),
}
_BONES = ("a", "on", "at", "in", "the", "top", "bottom", "left", "right", "middle")

VOCABULARY = (PAD, END, *_BONES, *(word for words in SYNONYMS.values() for word in words))
LETTERS = (PAD, END, " ", *"abcdefghijklmnopqrstuvwxyz")


def sentences(scene: Scene) -> list[str]:
    """One sentence for each scene, words parted by blanks."""
    return [" ".join(words) for words in _told(scene)]


def tokens(scene: Scene) -> Tensor:
    """The sentences as indices into `VOCABULARY`, then `<end>`, then `<pad>`: [B, LENGTH], int64."""
    return _numbered(_told(scene), VOCABULARY, LENGTH)


def letters(scene: Scene) -> Tensor:
    """The same sentences as indices into `LETTERS`, likewise: [B, MOST_LETTERS], int64."""
    return _numbered(sentences(scene), LETTERS, MOST_LETTERS)


def _numbered(rows: Sequence[Sequence[str]], known: Sequence[str], length: int) -> Tensor:
    ids = {token: number for number, token in enumerate(known)}
    numbers = [[ids[token] for token in (*row, END, *[PAD] * (length - len(row) - 1))] for row in rows]
    return torch.tensor(numbers, dtype=torch.int64).view(-1, length)


def sentence(ids: Sequence[int] | Tensor) -> str:
    """The words of one row of token ids, up to `<end>`."""
    words = [VOCABULARY[int(number)] for number in ids]
    return " ".join(words[: words.index(END)] if END in words else words)


def spelled(ids: Sequence[int] | Tensor) -> str:
    """The sentence of one row of letters, up to `<end>`."""
    found = [LETTERS[int(number)] for number in ids]
    return "".join(found[: found.index(END)] if END in found else found)


def _told(scene: Scene) -> list[list[str]]:
    kinds = {name: [factor.names[k] for k in scene[name].tolist()] for name, factor in FACTORS.items() if factor.names}
    shares = {name: scene[name].tolist() for name in ("scale", "x", "y", "light")}
    return [
        _tell({name: kinds[name][row] for name in kinds}, {name: shares[name][row] for name in shares}, dice)
        for row, dice in enumerate(scene.wording.tolist())
    ]


def _tell(kinds: Mapping[str, str], shares: Mapping[str, float], dice: Sequence[float]) -> list[str]:
    thing = [
        "a",
        *_either("small", "large", shares["scale"], dice[0]),
        *_maybe(kinds["texture"], dice[1]),
        _said(kinds["hue"], dice[2]),
        _said(kinds["shape"], dice[3]),
    ]
    backdrop = [
        "on",
        "a",
        *_maybe(kinds["ground_texture"], dice[4]),
        _said(kinds["ground_hue"], dice[5]),
        _said("ground", dice[6]),
    ]
    place = _place(shares["x"], shares["y"]) if dice[7] < 0.6 else []
    glow = _either("soft", "strong", shares["light"], dice[8])
    lit = ["in", *glow, _said("light", dice[9])] if glow and dice[10] < 0.6 else []
    if dice[11] < 0.25:
        return [*thing, *place, *lit]
    return [*backdrop, *thing, *place, *lit] if dice[11] < 0.45 else [*thing, *place, *backdrop, *lit]


def _said(name: str, die: float) -> str:
    words = SYNONYMS[name]
    return words[int(die * len(words))]


def _maybe(name: str, die: float) -> list[str]:
    """A word, or none in a quarter of the sentences; a plain texture is named in a fifth of them only."""
    silence = 0.8 if name == "plain" else 0.25
    return [] if die < silence else [_said(name, (die - silence) / (1 - silence))]


def _either(low: str, high: str, share: float, die: float) -> list[str]:
    """A word for the lower or the upper third of a range, none for the middle."""
    return [] if 1 / 3 <= share <= 2 / 3 else _maybe(low if share < 0.5 else high, die)


def _place(x: float, y: float) -> list[str]:
    rows = ["top"] if y < 0.35 else ["bottom"] if y > 0.65 else []
    columns = ["left"] if x < 0.35 else ["right"] if x > 0.65 else []
    return ["at", "the", *rows, *columns] if rows or columns else ["in", "the", "middle"]
