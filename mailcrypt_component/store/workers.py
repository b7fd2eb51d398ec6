"""Runs shares of a job in processes of their own, one for each core."""

from __future__ import annotations

import mmap
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mailcrypt_component.model.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

    Job = Callable[[int, int, Callable[[int], None]], "_T"]

_T = TypeVar("_T")
_TICK: Final = 0.1


class WorkerDied(UnreachableError):  # noqa: N818  (an event, named after what happened)
    """A process ended without a result, most likely by a signal."""

    def __init__(self) -> None:
        super().__init__(
            "a worker process was killed",
            expected="every process to end by itself",
            hint="look at the memory and the disk of this machine (dmesg)",
        )


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def in_processes(
    job: Job[_T], number: int, progress: Callable[[int], None] | None = None
) -> list[_T]:
    """Return what ``job(index, number, tell)`` returns for each index below ``number``.

    Args:
        job: Does one share; it calls ``tell`` with how much of it is done.
        number: How many processes; with 1 the job runs in this one.
        progress: Called ten times a second with the sum of all progress.

    Raises:
        MailCryptError: What a job raised.
        WorkerDied: A process died.

    """
    if number == 1 and progress is None:
        return [job(0, 1, lambda _: None)]
    # A forked process has the job, and with it the keys, without any pickling.
    context = multiprocessing.get_context("fork")
    done = memoryview(mmap.mmap(-1, 8 * number)).cast("q")
    with ProcessPoolExecutor(number, context, _prepare, (job, done)) as pool:
        shares = [pool.submit(_run, index) for index in range(number)]
        while progress and wait(shares, _TICK).not_done:
            progress(sum(done))
        if progress:
            progress(sum(done))
        try:
            return [share.result() for share in shares]
        except BrokenProcessPool:
            raise WorkerDied from None


_prepared: tuple[Job[Any], memoryview]


def _prepare(job: Job[Any], done: memoryview) -> None:
    global _prepared  # noqa: PLW0603  (a worker process has one job for its whole life)
    _prepared = job, done


def _run(index: int) -> Any:
    job, done = _prepared

    def tell(number: int) -> None:
        done[index] = number

    return job(index, len(done), tell)
