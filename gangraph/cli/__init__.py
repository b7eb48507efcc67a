"""The command `gangraph`: each command reads its arguments, makes one call, prints, and gives an exit code.

Nothing heavy is imported before a command needs it, so that `--help` and a spec's syntax errors show at once.
"""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable

import typer

from gangraph.cli import bench, doctor, readings, report, reproduce, runs, specs
from gangraph.errors import GangraphError, SpecError

_EPILOG = "Exit codes: 0 good, 1 the spec is invalid, 2 wrong usage, 3 the run failed."
_INTERRUPTED = 130

app = typer.Typer(
    name="gangraph",
    help="Write a GAN as a graph; the engine checks it, plans it, compiles it and runs it.",
    epilog=_EPILOG,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


@app.callback()
def _options(
    traceback: bool = typer.Option(
        False, "--traceback", help="Show where in gangraph an error came from; works after any command."
    ),
) -> None:
    """Write a GAN as a graph; the engine checks it, plans it, compiles it and runs it."""
    # `main` has taken --traceback out of the arguments; it is declared here so that --help shows it.


_COMMANDS: dict[str, Callable[..., None]] = {
    "run": runs.run,
    "check": specs.check,
    "show": specs.show,
    "explain": readings.explain,
    "diff": readings.diff,
    "list": specs.list_specs,
    "new": specs.new,
    "measure": runs.measure,
    "reproduce": reproduce.reproduce,
    "sample": runs.sample,
    "apply": runs.apply,
    "report": report.report,
    "doctor": doctor.doctor,
    "schema": specs.schema,
}
for _name, _command in _COMMANDS.items():
    app.command(name=_name)(_command)
app.add_typer(bench.app, name="bench")


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code; nothing is raised."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    wants_traceback = "--traceback" in given
    try:
        code = app([item for item in given if item != "--traceback"], prog_name="gangraph", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except BrokenPipeError:
        _forget_output()
        return 0
    except (KeyboardInterrupt, typer.Abort):
        return _INTERRUPTED
    except Exception as error:  # the one boundary: every error becomes a message and a code
        if wants_traceback:
            traceback.print_exc()
        return _report(error)


def _report(error: Exception) -> int:
    """Print what went wrong, as a person would say it; the exit code."""
    match error:
        case SpecError():
            _say(f"{error}\n\n{_tally(error)}")
        case GangraphError():
            _say(f"gangraph: {error}")
        case _ if hasattr(error, "format_message"):  # typer's own, which moved between its versions
            return _report_usage(error)
        case _:
            _say(f"gangraph: internal error: {type(error).__name__}: {error}; run again with --traceback")
    return getattr(error, "exit_code", 3)


def _report_usage(error: Exception) -> int:
    """A wrong option or argument; without any argument, the help."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "gangraph"
    message = str(error.format_message()).strip()  # type: ignore[attr-defined]
    if type(error).__name__ == "NoArgsIsHelpError":
        _say(message)
    else:
        _say(f"{path}: {message[:1].lower()}{message[1:].rstrip('.')}\nsee {path} --help")
    return 2


def _tally(error: SpecError) -> str:
    warnings = sum(problem.severity == "warning" for problem in error.problems)
    errors = len(error.problems) - warnings
    return f"{errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}"


def _say(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(text, file=sys.stderr)


def _forget_output() -> None:
    """Whoever read the output has gone; keep Python from complaining about it as it exits."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


__all__ = ["app", "main"]
