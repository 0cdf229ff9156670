"""Progress lines for log files, where no bar can be drawn."""

import time

from ..comparison.numbers import duration

INTERVAL = 30  # seconds between two lines


class LogLines:
    """Print the progress of a loop every 30 seconds.

    Args:
        label: What is counted.
        total: How much there is.
    """

    def __init__(self, label: str = '', total: int = 0) -> None:
        self.label, self.total, self.done = label, total, 0
        self._began = self._last = time.monotonic()

    def is_due(self) -> bool:
        """Return whether half a minute has passed since the start, or since this was true."""
        due = time.monotonic() - self._last >= INTERVAL
        if due:
            self._last = time.monotonic()
        return due

    def advance(self, count: int = 1, at: str = '', left: float | None = None) -> None:
        """Count what is done, and print a line if one is due.

        Args:
            count: Number of items done.
            at: What is being done.
            left: Remaining time in seconds. Defaults to None, which assumes that the rest takes as long per item as
                what is done.
        """
        self.done += count
        if self.is_due():
            if left is None:
                left = (time.monotonic() - self._began) * (self.total - self.done) / self.done
            print(f'{self.label}: {self.done} of {self.total}, {duration(left)} left{at and f" · {at}"}', flush=True)

    def end(self) -> None:
        """Print how much was done, and in which time."""
        seconds = time.monotonic() - self._began
        print(f'{self.label}: {self.done} of {self.total} after {duration(seconds)}', flush=True)
