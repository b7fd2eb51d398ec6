"""Converts outputs for the modules of the graph."""

import signal
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import pulumi

from mailcrypt_component.model.errors import MailCryptError

_T = TypeVar("_T")


def plainly(function: Callable[..., _T], *args: Any) -> _T:
    """Call a function; turn a fault that a person can fix into an error without a traceback."""
    try:
        return function(*args)
    except MailCryptError as error:
        raise pulumi.RunError(str(error)) from None


def public(value: pulumi.Output[Any]) -> pulumi.Output[Any]:
    """Remove the secret mark from a value that is derived from a key but does not reveal it."""
    return pulumi.Output.unsecret(value)


def end_undisturbed() -> None:
    """Ignore the interrupt that the engine sends to a program when a resource has failed.

    The program ends by itself; an interrupt would make it print tracebacks of Pulumi's SDK.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
