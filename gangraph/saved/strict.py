"""Files of a run as values that were checked: only the keys that are named, of exactly their types."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Count = Annotated[int, Field(ge=0, le=2**53)]  # which a float holds exactly, as clocks need it


class Strict(BaseModel):
    """Only the named keys, and no value of another type, not even one that could be converted.

    A model with defaults names `BaseModel` beside it: the linter tells by that name that pydantic copies defaults.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


def deviation(error: ValidationError) -> str:
    """The first deviation of data from its model: its key, what was found and what was expected."""
    first: Mapping[str, Any] = error.errors(include_url=False)[0]
    key = ".".join(map(str, first["loc"]))
    match first["type"]:
        case "missing":
            return f"the key '{key}' is missing"
        case "extra_forbidden":
            return f"there is no key '{key}'"
        case "value_error":
            return str(first["msg"]).removeprefix("Value error, ")
    found = repr(first["input"])
    shown = found if len(found) <= 60 else f"{found[:60]} ..."
    return f"{key or 'it'}: found {shown}, expected {str(first['msg']).removeprefix('Input should be ')}"
