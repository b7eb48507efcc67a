"""Signals end a run after the present step."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
_STDERR = 2  # the descriptor: a stream that stands for it, as in a notebook, need have none
_PATIENCE = b"\nsaving a checkpoint after this step; Ctrl-\\ ends at once, and loses what came after the last one\n"


class Stop:
    """Whether somebody has asked a run to end: by Ctrl-C, SIGTERM, SIGHUP or SIGUSR1."""

    def __init__(self) -> None:
        self.asked = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While this is entered, these signals only ask to stop; a second Ctrl-C prints what the run waits for.

        SIGHUP is left alone where it is ignored, as nohup wants it.
        """
        ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        numbers = [number for number in _ENDING if not (number == signal.SIGHUP and ignored)]
        before = {number: signal.signal(number, self._ask) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:  # of a person who cannot wait
            with suppress(OSError):
                os.write(_STDERR, _PATIENCE)
        self.asked = True
