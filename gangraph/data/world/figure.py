"""A jointed figure that dances: where its joints are in each frame, its picture, its pose as sticks, its silhouette.

Lengths are in half pictures of the shorter side, angles in turns, and y points down, as in `scene`. The figure stands
in a square of the shorter side in the middle of the picture. Each angle goes to and fro around a middle of its own,
with an amplitude and a phase that are drawn for each sample, once in a time that all of them share. Numbers are sums,
products, quotients and square roots alone, as in `render`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gangraph.data.world.balls import Draws
from gangraph.data.world.render import reach
from gangraph.data.world.scene import HUES, cosine, sine
from gangraph.data.world.shapes import coverage

JOINTS = ("pelvis", "neck", "head", *(f"{side} {part}" for side in ("left", "right")
          for part in ("shoulder", "elbow", "hand", "hip", "knee", "foot")))  # fmt: skip
# From joint to joint, and the colour of the stick.
STICKS: Sequence[tuple[str, str, str]] = (
    ("pelvis", "neck", "green"), ("neck", "head", "yellow"),
    ("left shoulder", "left elbow", "red"), ("left elbow", "left hand", "orange"),
    ("right shoulder", "right elbow", "blue"), ("right elbow", "right hand", "teal"),
    ("left hip", "left knee", "purple"), ("left knee", "left foot", "pink"),
    ("right hip", "right knee", "purple"), ("right knee", "right foot", "pink"),
)  # fmt: skip
SKIN, DARK = (0.93, 0.76, 0.62), (0.13, 0.11, 0.12)

_PELVIS = 0.1  # how far below the middle
_SWAY = 0.1  # how far the pelvis goes to each side
_EYES, _EYE, _MOUTH = 0.4, 0.17, 0.45  # shares of the head's radius: from the middle, the radius, and down
_THIN = 0.8  # a forearm beside an upper arm
_STICK = 0.03  # half the thickness of a stick
_SLOWEST, _FASTEST = 1 / 32, 1 / 16  # turns of a dance in a frame


@dataclass(frozen=True, slots=True)
class Build:
    """Lengths and half thicknesses of a body."""

    torso: float
    arm: float
    leg: float
    head: float
    chest: float
    limb: float
    shoulders: float
    hips: float


BUILDS: Mapping[str, Build] = {
    "slim": Build(torso=0.42, arm=0.27, leg=0.33, head=0.15, chest=0.11, limb=0.055, shoulders=0.13, hips=0.07),
    "stout": Build(torso=0.36, arm=0.21, leg=0.25, head=0.19, chest=0.2, limb=0.09, shoulders=0.2, hips=0.11),
}
_LIMBS = (("hip", "knee", 1.0), ("knee", "foot", 1.0), ("shoulder", "elbow", 1.0), ("elbow", "hand", _THIN))
# Of each angle its middle and how far it goes to each side of it. Those of limbs grow outwards.
_ANGLES: Mapping[str, tuple[float, float]] = {
    "lean": (0.0, 0.03), "nod": (0.0, 0.03),
    "arm": (0.21, 0.17), "elbow": (0.1, 0.14), "leg": (0.05, 0.05), "knee": (-0.04, 0.05),
}  # fmt: skip


def joints(draws: Draws, build: str, frames: int, stride: int) -> Tensor:
    """Where the joints are in each frame: [B, frames, len(JOINTS), 2], x and y in half pictures, float64."""
    body, dance = BUILDS[build], _Dance(draws, frames, stride)
    lean = dance.angle("lean")
    pelvis = torch.stack([dance.wave("sway") * _SWAY, torch.full_like(lean, _PELVIS)], dim=-1)
    neck = pelvis - _down(lean) * body.torso
    head = neck - _down(lean + dance.angle("nod")) * (body.head + 0.04)
    found = {"pelvis": pelvis, "neck": neck, "head": head}
    across = torch.stack([cosine(lean), -sine(lean)], dim=-1)
    for side, sign in (("left", -1), ("right", 1)):
        top, low = neck + across * (sign * body.shoulders), pelvis + across * (sign * body.hips)
        found[f"{side} shoulder"], found[f"{side} hip"] = top + _down(lean) * 0.06, low
        for first, second, third, length in (
            ("shoulder", "elbow", "hand", body.arm),
            ("hip", "knee", "foot", body.leg),
        ):
            limb, bend = ("arm", "elbow") if first == "shoulder" else ("leg", "knee")
            upper = dance.angle(limb, side)
            found[f"{side} {second}"] = found[f"{side} {first}"] + _down(sign * upper) * length
            bent = sign * (upper + dance.angle(bend, side))
            found[f"{side} {third}"] = found[f"{side} {second}"] + _down(bent) * length
    return torch.stack([found[name] for name in JOINTS], dim=2)


class _Dance:
    """How far each angle of some figures is in each frame."""

    def __init__(self, draws: Draws, frames: int, stride: int) -> None:
        pace = _SLOWEST + (_FASTEST - _SLOWEST) * draws(["dance pace"])
        self._draws = draws
        self._time = torch.arange(frames, dtype=torch.float64) * stride * pace

    def wave(self, name: str) -> Tensor:
        """To and fro in [-1, 1], at most as far as is drawn: [B, frames]."""
        far, phase = self._draws([f"dance {name} far", f"dance {name} phase"]).unbind(1)
        return (0.4 + 0.6 * far)[:, None] * sine(self._time + phase[:, None])

    def angle(self, kind: str, side: str = "") -> Tensor:
        middle, far = _ANGLES[kind]
        return middle + far * self.wave(f"{side} {kind}".strip())


def trembled(found: Tensor, draws: Draws, tremor: float, stride: int) -> Tensor:
    """Joints as a detector finds them, each off by up to `tremor` both ways, in each frame anew."""
    if not tremor:
        return found
    _, frames, count, _ = found.shape
    names = [f"tremor {frame * stride} {joint} {axis}" for frame in range(frames) for joint in JOINTS for axis in "xy"]
    return found + (draws(names).view(-1, frames, count, 2) * 2 - 1) * tremor


def shares(found: Tensor, size: tuple[int, int]) -> Tensor:
    """Joints as shares of the picture, float32."""
    down, across = reach(size)
    return (found / torch.tensor([across, down], dtype=torch.float64)).float()


def picture(
    found: Tensor, build: str, ground: Tensor, shirt: Tensor, trousers: Tensor, skin: Tensor, dark: Tensor
) -> Tensor:
    """The figure before its ground [B, C, H, W], in [-1, 1]: joints [B, J, 2], and colours [B or 1, C] in [0, 1]."""
    board, body = _Board(found, ground), BUILDS[build]
    for side in ("left", "right"):
        for first, second in (("hip", "knee"), ("knee", "foot")):
            board.paint(board.bone(f"{side} {first}", f"{side} {second}", body.limb), trousers)
    board.paint(board.bone("pelvis", "neck", body.chest), shirt)
    for side in ("left", "right"):
        board.paint(board.bone(f"{side} shoulder", f"{side} elbow", body.limb), shirt)
        board.paint(board.bone(f"{side} elbow", f"{side} hand", body.limb * _THIN), skin)
    board.paint(board.bone("head", "head", body.head), skin)
    up = board.towards("neck", "head")  # the face leans with the head
    for sign in (-1, 1):
        board.paint(board.spot("head", up, (sign * _EYES * body.head, 0.1 * body.head), _EYE * body.head), dark)
    ends = [(sign * 0.35 * body.head, -_MOUTH * body.head) for sign in (-1, 1)]
    board.paint(board.stroke("head", up, ends, 0.08 * body.head), dark)
    return board.image.mul(2).sub(1)


def sticks(found: Tensor, size: tuple[int, int], colours: Tensor) -> Tensor:
    """The pose as coloured sticks on black: joints [B, J, 2] and colours [len(HUES), C] to [B, C, H, W] in [-1, 1]."""
    board = _Board(found, torch.zeros(len(found), colours.shape[1], *size))
    for first, second, hue in STICKS:
        board.paint(board.bone(first, second, _STICK), colours[None, HUES.index(hue)])
    board.paint(board.bone("head", "head", 2 * _STICK), colours[None, HUES.index("yellow")])
    return board.image.mul(2).sub(1)


def silhouette(found: Tensor, build: str, size: tuple[int, int]) -> Tensor:
    """1 on the figure, 0 elsewhere: joints [B, J, 2] to [B, 1, H, W]."""
    board, body = _Board(found, torch.zeros(len(found), 1, *size)), BUILDS[build]
    bones = [("pelvis", "neck", body.chest), ("head", "head", body.head)]
    for side in ("left", "right"):
        bones += [(f"{side} {first}", f"{side} {second}", body.limb * thin) for first, second, thin in _LIMBS]
    inside = [board.bone(*bone) < 0 for bone in bones]
    return torch.stack(inside).any(0)[:, None].float()


class _Board:
    """A picture that is painted on, part by part; a part is a signed distance [B, H, W]."""

    def __init__(self, found: Tensor, ground: Tensor) -> None:
        size = (ground.shape[2], ground.shape[3])
        self._pixel = 2 / min(size)
        self._x, self._y = (_places(side, min(size)) for side in (size[1], size[0]))
        self._found = {name: found[:, place].float() for place, name in enumerate(JOINTS)}
        self.image = ground.clone()

    def paint(self, distance: Tensor, colour: Tensor) -> None:
        """Cover what is inside with a colour [B or 1, C]."""
        share = coverage(distance, self._pixel)[:, None]
        self.image = self.image * (1 - share) + colour[:, :, None, None] * share

    def bone(self, first: str, second: str, radius: float) -> Tensor:
        """A stick with round ends between two joints; a disc where they are the same."""
        return self._capsule(self._found[first], self._found[second], radius)

    def towards(self, first: str, second: str) -> Tensor:
        """The direction from one joint to another: [B, 2]."""
        line = self._found[second] - self._found[first]
        return line / line.square().sum(1, keepdim=True).sqrt()

    def spot(self, joint: str, up: Tensor, place: tuple[float, float], radius: float) -> Tensor:
        """A disc beside a joint, so far to its right and up."""
        return self.stroke(joint, up, [place, place], radius)

    def stroke(self, joint: str, up: Tensor, ends: Sequence[tuple[float, float]], radius: float) -> Tensor:
        """A stick between two places, each so far to the right of a joint and up."""
        right = torch.stack([-up[:, 1], up[:, 0]], dim=1)
        first, second = (self._found[joint] + right * x + up * y for x, y in ends)
        return self._capsule(first, second, radius)

    def _capsule(self, first: Tensor, second: Tensor, radius: float) -> Tensor:
        x, y = self._x - first[:, 0, None, None], self._y[:, None] - first[:, 1, None, None]
        dx, dy = (second - first)[:, :, None, None].unbind(1)
        along = ((x * dx + y * dy) / (dx * dx + dy * dy).clamp_min(1e-9)).clamp(0, 1)
        return ((x - along * dx) ** 2 + (y - along * dy) ** 2).sqrt() - radius


def _places(side: int, shorter: int) -> Tensor:
    """The middles of a side's pixels, in half pictures of the shorter side, from the middle."""
    return (2 * torch.arange(side, dtype=torch.float32) + 1 - side) / shorter


def _down(angle: Tensor) -> Tensor:
    """The direction at so many turns from straight down to the right: [..., 2]."""
    return torch.stack([sine(angle), cosine(angle)], dim=-1)
