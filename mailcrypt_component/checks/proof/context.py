"""What every step of a proof is given; nothing in it changes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from mailcrypt_component.checks.proof.probe import Probe, new_probe
from mailcrypt_component.docker_api.connect import refresh
from mailcrypt_component.docker_api.run import Result, execute
from mailcrypt_component.model.errors import ProofError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from docker.models.containers import Container

    from mailcrypt_component.checks.proof.target import Target

_T = TypeVar("_T")
_CLEANING_SECONDS: Final = 1.0
"""The last second before the deadline is for removing the probe mails."""
_LONGEST_PAUSE: Final = 1.0


@dataclass(frozen=True, slots=True)
class Context:
    """A proof's target, its container, its probe mails and its clock."""

    target: Target
    container: Container
    probe: Probe = field(default_factory=new_probe)
    started: float = field(default_factory=time.monotonic)

    @property
    def where(self) -> str:
        """The container, as messages name it."""
        return f"container {self.container.name}"

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    @property
    def expired(self) -> bool:
        """Whether the time for the proof itself is over."""
        deadline = self.target.deadline
        return deadline - self.elapsed <= min(_CLEANING_SECONDS, deadline / 10)

    @property
    def left(self) -> float:
        """Seconds until the deadline, at least one."""
        return max(self.target.deadline - self.elapsed, 1.0)

    def run(self, argv: Sequence[str], stdin: bytes = b"") -> Result:
        """Run a command in the container; see ``execute``."""
        return execute(self.container, argv, stdin=stdin, timeout=self.left)


@dataclass(frozen=True, slots=True)
class Waiting:
    """The answer of a look that has to be repeated; ``reason`` completes "last: …"."""

    reason: str


def wait_for(context: Context, look: Callable[[], _T | Waiting], pause: float) -> _T:
    """Look until there is something else than a reason to wait.

    Args:
        context: Its deadline ends the waiting.
        look: Returns what was waited for, or raises as soon as it will certainly not come.
        pause: Seconds before the second look; each further pause is longer, up to a second.

    Raises:
        UnreachableError: The deadline has passed.

    """
    reason = ""
    while True:
        require_running(context.container)
        try:
            answer = look()
        except UnreachableError:
            if context.expired and reason:  # The last look was cut short.
                raise UnreachableError(reason) from None
            raise
        if not isinstance(answer, Waiting):
            return answer
        reason = answer.reason
        if context.expired:
            raise UnreachableError(reason)
        time.sleep(pause)
        pause = min(pause * 1.3, _LONGEST_PAUSE)


def require_running(container: Container) -> None:
    """Raise ProofError unless the container runs.

    Raises:
        ProofError: It exists, and does not run.
        UnreachableError: It is gone, or the engine does not answer.

    """
    refresh(container)
    if container.status != "running" or container.attrs["State"].get("Restarting"):
        raise ProofError(
            f"the container is {container.status}",
            where=f"container {container.name}",
            expected="a running server",
            hint=f"see docker logs --tail 50 {container.name}; then pulumi up --refresh",
        )
