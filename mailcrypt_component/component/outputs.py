"""Converts outputs for the modules of the graph."""

import asyncio
import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import pulumi
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.settings import get_monitor

from mailcrypt_component.model.errors import MailCryptError

_T = TypeVar("_T")
_MESSAGE_SHOWN: Final = 32
"""The exit code by which Pulumi's language host knows that a program has shown its message."""
_ENGINES: Final = ThreadPoolExecutor(16, thread_name_prefix="engine")


def plainly(function: Callable[..., _T], *args: Any) -> _T:
    """Call a function; turn a fault that a person can fix into an error without a traceback."""
    try:
        return function(*args)
    except MailCryptError as error:
        raise pulumi.RunError(str(error)) from None


def once_known(function: Callable[..., _T], *args: Any) -> _T:
    """Call a function with values that have resolved; a fault ends the program with its message.

    As an exception it would be raised again in every output that depends on the value, and so
    many of them have crashed the interpreter without a word.  In a process that is not the
    program's own (a unit test, a component host, the automation API) it is raised all the same.
    """
    try:
        return function(*args)
    except MailCryptError as error:
        _give_up(error)


def answer(function: Callable[..., _T], *inputs: pulumi.Input[Any]) -> pulumi.Output[_T]:
    """Ask an engine once the inputs are known, in previews too; a fault ends the program.

    It is asked in a thread, so that a program with many servers asks all their engines at once.
    """

    async def ask(values: Sequence[Any]) -> _T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(_ENGINES, function, *values)
        except MailCryptError as error:
            _give_up(error)

    return pulumi.Output.all(*inputs).apply(ask)


def _give_up(error: MailCryptError) -> NoReturn:
    if not _is_program():
        raise pulumi.RunError(str(error)) from None
    pulumi.log.error(str(error))
    _end(_MESSAGE_SHOWN)


def _is_program() -> bool:
    """Tell whether this process is a Pulumi program, started by the language host's script."""
    started = getattr(sys.modules["__main__"], "__file__", None) or ""
    return Path(started).name == "pulumi-language-python-exec"


def is_mocked() -> bool:
    """Tell whether this is a unit test with Pulumi's mocks, which asks no engine."""
    return isinstance(get_monitor(), MockMonitor)


def public(value: pulumi.Output[Any]) -> pulumi.Output[Any]:
    """Remove the secret mark from a value that is derived from a key but does not reveal it."""
    return pulumi.Output.unsecret(value)


def end_when_interrupted() -> None:
    """End the program without a word when the engine interrupts it because a resource has failed.

    The engine has said what failed; Pulumi's SDK would print tracebacks of its own after that.  A
    program with an interrupt handler of its own keeps it.
    """
    default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if default and _in_main_thread() and not is_mocked():
        signal.signal(signal.SIGINT, lambda *_: _end(1))


def _end(code: int) -> NoReturn:
    """End at once, but remove temporary files: certificates of an engine, sockets of tunnels."""
    atexit._run_exitfuncs()  # noqa: SLF001  (os._exit skips them)
    os._exit(code)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def end_undisturbed() -> None:
    """Ignore the interrupt that the engine sends to a program when a resource has failed.

    The program ends by itself; an interrupt would make it print tracebacks of Pulumi's SDK.
    """
    if _in_main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
