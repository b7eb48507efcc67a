"""The state of a run in numbers and texts: `state.json` of a checkpoint, as one value that was checked.

What is read here may come from anywhere, so every key, type and range is verified before anything uses it. Whether it
fits the networks and optimizers of a program is verified before it is used (`run/verify.py`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from gangraph.errors import CheckpointError
from gangraph.saved.files import read_json
from gangraph.saved.strict import Count, Strict, deviation

FILE, TENSORS = "state.json", "tensors.safetensors"
FORMAT: Literal[2] = 2
_LARGEST_FILE = 16 * 2**20  # bytes; texts of specs and networks are most of it

Seed = Annotated[int, Field(gt=-(2**64), lt=2**64)]
Line = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=4096)]  # goes into paths and messages
Origin = Annotated[str, Field(pattern=r"^[^\x00]*$", max_length=_LARGEST_FILE)]  # a folder of the user's
Text = Annotated[str, Field(max_length=_LARGEST_FILE)]


class Changed(Strict, BaseModel):
    """Something about the training that changed when a run went on: the path in the spec, and both values."""

    step: Count
    path: Text
    before: Text
    after: Text


class Found(Strict, BaseModel):
    """Where weights from elsewhere were found, and the BLAKE2b digest of the tensors or of the file, in hexadecimal."""

    path: Origin
    digest: Line


class Trained(Strict, BaseModel):
    """What was trained, under which choices, and where in its phases it is. Counts are samples, or steps.

    Attributes:
        epochs_before: epochs of the phases before; None in checkpoints of versions that did not keep it.
        files: texts of the other files that the spec was read from, by their paths seen from it.
        plugins: what is installed under the names of the plug-ins that the spec uses.
        sizes: samples by data stream, for those that were opened.
        meanings: what the whole numbers of a data stream stand for, such as classes and words, by field or column.
        changed: what was changed about the training while it went on.
        elsewhere: where the weights of networks from elsewhere were found, by the call in the spec that names them.
    """

    spec: Text
    name: Line
    profile: Line
    variant: Line
    settings: dict[str, str]
    origin: Origin
    fingerprint: Line
    seed: Seed
    precision: Literal["fp32", "bf16", "fp64"]
    phase: Count
    phase_start: Count
    seen_before: Count
    share: bool
    merge: bool
    kernels: Literal["auto", "on", "off"]
    epochs_before: Annotated[float, Field(ge=0)] | None = None
    device: Line = ""
    files: dict[str, Text] = {}
    plugins: dict[str, Line] = {}
    sizes: dict[str, Count] = {}
    meanings: dict[str, dict[str, list[Text]]] = {}
    changed: list[Changed] = []
    elsewhere: dict[str, Found] = {}


class Pool(Strict, BaseModel):
    """How many samples a history holds, and how often it was called."""

    count: Count
    calls: Count


class State(Strict, BaseModel):
    """Everything of a checkpoint but its tensors.

    Attributes:
        format: of this file; what older ones lack is filled in as it is read.
        digest: BLAKE2b of the tensors' file, in hexadecimal; None in checkpoints of format 1.
        shared: beginnings of tensors' names that stand for other beginnings, for parts that networks share.
        positions: samples drawn by data stream.
        gates: what each update's gates remember, by group; may be left out where none does.
        trained: what was trained; the file calls it `extra`, and so does the constructor.
    """

    format: Literal[2]
    digest: Annotated[str, Field(pattern="^[0-9a-f]{128}$")] | None
    step: Count
    shared: dict[str, str]
    positions: dict[str, Count]
    histories: dict[str, Pool]
    gates: list[dict[str, list[bool | float]]] = []
    trained: Trained = Field(alias="extra")

    def text(self) -> str:
        """What `state.json` holds."""
        return self.model_dump_json(indent=1, by_alias=True)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        trained = self.trained
        if trained.phase_start > self.step:
            raise ValueError(f"extra.phase_start: found {trained.phase_start}, expected at most the step, {self.step}")
        if not trained.phase and (trained.phase_start or trained.seen_before or trained.epochs_before):
            raise ValueError("extra.phase: found 0, and yet something was trained before it")
        return self


def read_state(folder: Path) -> State:
    """The state that a checkpoint's folder holds.

    Raises:
        CheckpointError: it is missing or damaged; the key is named.
    """
    try:
        return State.model_validate(_upgraded(read_json(folder / FILE, _LARGEST_FILE)))
    except ValidationError as error:
        raise damaged(folder, FILE, deviation(error)) from None
    except OSError as error:
        raise damaged(folder, FILE, error.strerror or str(error)) from None
    except ValueError as error:
        raise damaged(folder, FILE, str(error)) from None


def damaged(folder: Path, file: str, why: str) -> CheckpointError:
    """The one error about what a checkpoint holds; `why` begins with the key where there is one."""
    return CheckpointError(f"checkpoint '{folder}' cannot be used: {file}: {why}")


def _upgraded(data: Any) -> Any:
    """The present format of what older versions wrote."""
    if not isinstance(data, dict) or "format" in data or "digest" in data:
        return data
    # Format 1 listed the numbers that optimizers keep, of which there are none.
    left = {key: value for key, value in data.items() if key != "optimizers"}
    trained = {"kernels": "auto", "fingerprint": "", **_mapping(left.get("extra"))}
    return {"format": FORMAT, "digest": None, "shared": {}, **left, "extra": trained}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {"": value}
