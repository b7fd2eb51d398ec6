"""Shows the progress of a long command: number, rate and remaining time."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.progress import Progress as Bars

_T = TypeVar("_T")
_STEP: Final = 100


class Progress:
    """A progress bar on a terminal; nothing is shown elsewhere."""

    def __init__(self, noun: str) -> None:
        self._bars: Bars | None = _bars(noun) if sys.stderr.isatty() else None

    def __enter__(self) -> Self:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars:
            self._bars.stop()

    def expect(self, counted: Callable[[], int]) -> None:
        """Count beforehand how many there are, if progress is shown."""
        if self._bars:
            self._bars.update(self._bars.task_ids[0], total=counted())

    @property
    def callback(self) -> Callable[[int], None] | None:
        """Takes the number that is done so far; None if nothing is shown."""
        return self._show if self._bars else None

    def over(self, values: Iterable[_T]) -> Iterator[_T]:
        """Yield the values, counting them."""
        for number, value in enumerate(values, 1):
            if not number % _STEP:
                self._show(number)
            yield value

    def _show(self, number: int) -> None:
        if self._bars:
            self._bars.update(self._bars.task_ids[0], completed=number)


def _bars(noun: str) -> Bars:
    # Only a terminal needs rich, which takes as long to import as a short command runs.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed or 0:,.0f}/s")

    columns = BarColumn(), MofNCompleteColumn(), TextColumn(noun), Rate(), TimeRemainingColumn()
    bars = Bars(*columns, console=Console(stderr=True), transient=True)
    bars.add_task(noun, total=None)
    return bars
