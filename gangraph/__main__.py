"""The command `gangraph`, which `python -m gangraph` is as well."""

import sys

_INTERRUPTED = 130


def start() -> int:
    """Run the command and return its exit code; Ctrl-C is told by the code alone, also while modules are imported."""
    try:
        from gangraph.cli import main
    except KeyboardInterrupt:
        return _INTERRUPTED
    return main()


if __name__ == "__main__":
    sys.exit(start())
