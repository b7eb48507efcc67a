"""Wrong usage in our words, whatever words the library has that reads the arguments."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Annotated, Any, get_args, get_origin

from gangraph.errors import nearest


def usage_text(error: Any, given: Sequence[str]) -> str:
    """What is wrong with the arguments of a command.

    Args:
        error: what the library raised. Its classes moved between versions; their names and attributes stayed.
        given: the arguments as they were written.
    """
    command: Any = getattr(getattr(error, "ctx", None), "command", None)
    match type(error).__name__:
        case "BadParameter" | "MissingParameter" as kind if getattr(error, "param", None) is not None:
            expected = _expected(command, error.param.name)
            name = _name(error.param)
            if kind == "MissingParameter":
                return f"{name} is missing" + (f"; it takes {expected}" if expected else "")
            found = _written(error.param.opts, given)
            return f"{name} takes {expected or 'another value'}" + (f"; found '{found}'" if found is not None else "")
        case "NoSuchOption":
            found = nearest(error.option_name, [name for each in command.params for name in each.opts])
            return f"there is no option {error.option_name}" + (f"; {found}" if found else "")
        case "BadOptionUsage":
            return f"{error.option_name} {'needs a value after it' if error.option_name in given else 'takes no value'}"
        case "UsageError":
            return _of_command(command, given) or str(error.format_message()).strip()
    return str(error.format_message()).strip()


def _of_command(command: Any, given: Sequence[str]) -> str:
    """A command that is not there, or arguments that it does not take."""
    if commands := getattr(command, "commands", None):
        words = (word for word in given if not word.startswith("-") and word not in (*commands, command.name))
        unknown = next(words, "")
        found = nearest(unknown, commands)
        return f"there is no command '{unknown}'; {found or 'there are ' + ', '.join(commands)}" if unknown else ""
    if command is None:
        return ""
    takes = [_name(each) for each in command.params if not each.opts[0].startswith("-")]
    return f"this command takes {' and '.join(takes) or 'options only'}; found {' '.join(given[1:])}"


def _name(parameter: Any) -> str:
    """What a parameter is called in `--help`: `SPEC`, or its option."""
    option = parameter.opts[0].startswith("-")
    return str(max(parameter.opts, key=len) if option else parameter.metavar or parameter.name.upper())


def _expected(command: Any, name: str) -> str:
    """What values a parameter takes, from the annotation of the command's function; empty where any text does."""
    parameter = inspect.signature(command.callback).parameters.get(name)
    if parameter is None:
        return ""
    bounds: Mapping[str, Any] = {}
    annotation = parameter.annotation
    if get_origin(annotation) is Annotated:
        annotation, option, *_ = get_args(annotation)
        bounds = vars(option)
    for kind in _kinds(annotation):
        if issubclass(kind, Enum):
            *others, last = [str(member.value) for member in kind]
            return f"{', '.join(others)} or {last}"
        if issubclass(kind, int | float):
            return ("a whole number" if issubclass(kind, int) else "a number") + _between(bounds)
    return ""


def _between(bounds: Mapping[str, Any]) -> str:
    least, most = bounds.get("min"), bounds.get("max")
    return (f" of at least {least:g}" if least is not None else "") + (f" up to {most:g}" if most is not None else "")


def _kinds(annotation: Any) -> Iterator[type]:
    """The classes in an annotation such as `list[int] | None`."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        yield annotation
    for part in get_args(annotation):
        yield from _kinds(part)


def _written(options: Sequence[str], given: Sequence[str]) -> str | None:
    """The value that an option was given last; None for what is no option."""
    found = None
    for index, word in enumerate(given):
        name, equals, value = word.partition("=")
        if name in options:
            found = value if equals else next(iter(given[index + 1 :]), None)
    return found
