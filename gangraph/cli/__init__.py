"""The command `gangraph`: each command reads its arguments, makes one call, prints, and gives an exit code.

Nothing heavy is imported before a command needs it, so that `--help` and a spec's syntax errors show at once.
"""

import contextlib
import inspect
import itertools
import os
import re
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import metadata
from io import TextIOWrapper

import typer

from gangraph import terminal
from gangraph.cli import bench, compare, doctor, readings, report, reproduce, runs, specs
from gangraph.cli.usage import usage_text
from gangraph.errors import GangraphError, RunError, SpecError, UsageError
from gangraph.faults import fault_of

_EPILOG = "Exit codes: 0 good, 1 the spec is invalid, 2 wrong usage, 3 the run failed."
_INTERRUPTED = 130
_SECTION = re.compile(r"^(?:Args|Returns|Raises|Yields):$", re.MULTILINE)
_SETTING = re.compile(r"[\w.\[\] ]+=.+", re.DOTALL)

app = typer.Typer(
    name="gangraph",
    help="Write a GAN as a graph; the engine checks it, plans it, compiles it and runs it.",
    epilog=_EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"gangraph {metadata.version('gangraph')}")
        raise typer.Exit


@app.callback()
def _options(
    traceback: bool = typer.Option(
        False, "--traceback", help="Show where in gangraph an error came from; works after any command."
    ),
    version: bool = typer.Option(
        False, "--version", help="Print gangraph's version.", is_eager=True, callback=_version
    ),
) -> None:
    """Write a GAN as a graph; the engine checks it, plans it, compiles it and runs it."""
    # `main` has taken --traceback out of the arguments; it is declared here so that --help shows it.


def _help(command: Callable[..., None]) -> str:
    """The part of a docstring that `--help` shows: everything before its sections `Args:`, `Raises:` and so on."""
    return _SECTION.split(inspect.getdoc(command) or "")[0].strip()


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
    "compare": compare.compare,
    "report": report.report,
    "doctor": doctor.doctor,
    "schema": specs.schema,
}
for _name, _command in _COMMANDS.items():
    app.command(name=_name, help=_help(_command))(_command)
app.add_typer(bench.app, name="bench")


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code; nothing is raised."""
    _open_streams()
    with terminal.guarded():
        return _run(list(sys.argv[1:] if arguments is None else arguments))


def _run(given: list[str]) -> int:
    wants_traceback = "--traceback" in given
    if sys.stdout is None:
        return _report(RunError("standard output is closed; send it to /dev/null if nobody is to read it"), given)
    try:
        code = app([item for item in given if item != "--traceback"], prog_name="gangraph", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        return _INTERRUPTED
    except (Exception, SystemExit) as error:  # the one boundary: every error becomes a message and a code
        if isinstance(error, BrokenPipeError) or isinstance(error.__context__, BrokenPipeError):  # click exits then
            _forget_output()
            return 0
        if isinstance(error, SystemExit) and _completes(given):
            sys.stdout.flush()
            return error.code if isinstance(error.code, int) else 0
        if wants_traceback:
            traceback.print_exc()
        return _report(error, given)


def _completes(given: Sequence[str]) -> bool:
    """Whether typer answers a shell that completes, or installs completion; it ends both by exiting."""
    return "_GANGRAPH_COMPLETE" in os.environ or given[:1] in (["--install-completion"], ["--show-completion"])


def _open_streams() -> None:
    """Let every character be printed, whatever the locale, and let no file take the place of a closed stream."""
    for number, stream in enumerate((sys.stdin, sys.stdout, sys.stderr)):
        if stream is None:  # else the next file that is opened gets its number
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _report(error: BaseException, given: Sequence[str]) -> int:
    """Print what went wrong as a message without a traceback; returns the exit code."""
    match error:
        case UsageError():
            _say(f"gangraph: {error}{_meant_setting(given)}")
        case SpecError():
            _say(f"{error}\n\n{_tally(error)}")
        case GangraphError():
            _say(f"gangraph: {error}")
        case _ if (fault := fault_of(error)) is not None:
            _say(f"gangraph: {fault}")
        case _ if hasattr(error, "format_message"):  # typer's own, which moved between its versions
            return _report_usage(error, given)
        case SystemExit():
            _say("gangraph: a plug-in or a library asked for the end of the process; --traceback shows where")
            return 3
        case _:
            _say(f"gangraph: internal error: {type(error).__name__}: {error}; run again with --traceback")
    return getattr(error, "exit_code", 3)


def _meant_setting(given: Sequence[str]) -> str:
    """A hint to write `--set` where an argument such as `train.batch=4` stands alone."""
    command = _COMMANDS.get(next(iter(given), ""))
    if command is None or "settings" not in inspect.signature(command).parameters:
        return ""
    alone = (new for old, new in itertools.pairwise(given) if not old.startswith("-") and _SETTING.fullmatch(new))
    found = next(alone, None)
    return f"; a value of the spec is replaced by --set {shlex.quote(found)}" if found else ""


def _report_usage(error: BaseException, given: Sequence[str]) -> int:
    """Print what is wrong with an option or argument, or the help if there was no argument; returns the exit code."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "gangraph"
    if type(error).__name__ == "NoArgsIsHelpError":
        _say(str(error.format_message()).strip())  # type: ignore[attr-defined]  # one of typer, as its caller found
    else:
        _say(f"{path}: {usage_text(error, given)}{_meant_setting(given)}\nsee {path} --help")
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
