"""Run shares of a job in processes of their own, one for each core."""

from __future__ import annotations

import mmap
import os
import pickle
import select
import struct
import sys
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mailcrypt_component.model.errors import MailCryptError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

    Job = Callable[[int, int, Callable[[int], None]], "_T"]

_T = TypeVar("_T")
_TICK: Final = 0.1


class WorkerDied(UnreachableError):  # noqa: N818  (an event, named after what happened)
    """A process ended without a result, by a signal most likely."""

    def __init__(self, signal: int) -> None:
        self.signal = signal
        super().__init__(f"a worker process died (signal {signal})")


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def in_processes(
    job: Job[_T], number: int, progress: Callable[[int], None] | None = None
) -> list[_T]:
    """Return what ``job(index, number, tell)`` returns for each index below number.

    Args:
        job: Does one share; ``tell`` takes how much of it is done.
        number: How many processes; with 1 it runs in this one.
        progress: Called ten times a second with the sum of what was told.

    Raises:
        MailCryptError: What a job raised.
        WorkerDied: A process died.

    """
    seen = mmap.mmap(-1, 8 * number)

    def tell(index: int) -> Callable[[int], None]:
        return lambda done: struct.pack_into("q", seen, 8 * index, done)

    def total() -> int:
        return sum(struct.unpack(f"{number}q", seen[:]))

    if number == 1 and progress is None:
        return [job(0, 1, tell(0))]
    running = [_start(job, index, number, tell(index)) for index in range(number)]
    results: list[_T] = []
    faults: list[MailCryptError] = []
    for pipe, child in running:
        while progress and not select.select([pipe], [], [], _TICK)[0]:
            progress(total())
        with os.fdopen(pipe, "rb") as stream:
            data = stream.read()
        _, status = os.waitpid(child, 0)
        result: Any = pickle.loads(data) if data else WorkerDied(os.WTERMSIG(status))  # noqa: S301
        if isinstance(result, MailCryptError):
            faults.append(result)
        else:
            results.append(result)
    if progress:
        progress(total())
    if faults:
        raise faults[0]
    return results


def _start(job: Job[_T], index: int, number: int, tell: Callable[[int], None]) -> tuple[int, int]:
    """Run a share in a child; return where its result comes, and the child's id."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child:
        os.close(theirs)
        return ours, child
    try:
        os.close(ours)
        try:
            result: object = job(index, number, tell)
        except MailCryptError as error:
            result = error
        with os.fdopen(theirs, "wb") as stream:
            stream.write(pickle.dumps(result))
    except KeyboardInterrupt:
        pass
    except BaseException:  # noqa: BLE001  (a child must never go on as its parent)
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(0)
