"""The stop button, and Ctrl-C: heard between two training steps, so that none is left half done."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopButton:
    """Inside its `with` block an interrupt waits while one is `held`; a second one does not wait.

    `broken` tells that what was held may be half done.
    """

    def __init__(self):
        self.pressed = self.holding = self.broken = False

    def __enter__(self) -> "StopButton":
        self.before = signal.getsignal(signal.SIGINT)
        here = threading.current_thread() is threading.main_thread()  # no other thread hears it
        self.listening = here and callable(self.before)
        if self.listening:
            signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(self, *error: object) -> None:
        if self.listening:
            signal.signal(signal.SIGINT, self.before)

    def _press(self, number: int, frame: FrameType | None) -> None:
        again, self.pressed = self.pressed, True
        if again or not self.holding:
            raise KeyboardInterrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let an interrupt wait for the end of this block."""
        self.holding = True
        try:
            yield
        except BaseException:
            self.broken = True
            raise
        finally:
            self.holding = False
        if self.pressed:
            raise KeyboardInterrupt
