"""Gates: resources that exist only while what they check holds.

A gate is a ``pulumi.Stash`` of public facts with a hook before it is created or updated.  A gate
whose check fails is not in the state, so the next ``up`` checks again.  A gate that held costs
nothing while its facts do not change.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import pulumi

from mailcrypt_component.component.outputs import end_undisturbed
from mailcrypt_component.model.errors import MailCryptError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pulumi import Input, Output

_T = TypeVar("_T")
_CHECKS: Final = ThreadPoolExecutor(thread_name_prefix="gate")
"""Not asyncio's own threads: in those Pulumi's SDK waits for resources, and so for their gates."""


@dataclass(frozen=True)
class GateRun:
    """One run of a gate's check.

    ``previous`` holds the facts with which the gate last held; None if it never held.  ``say``
    reports progress.
    """

    previous: Mapping[str, Any] | None
    say: Callable[[str], object]


def gate(
    name: str,
    facts: Input[Mapping[str, Any]],
    check: Callable[[_T, GateRun], str],
    needs: Output[_T],
    opts: pulumi.ResourceOptions,
) -> pulumi.Stash:
    """Declare a gate.

    Args:
        name: The gate's resource name, unique in the program.
        facts: Values whose change makes the check run again; no secrets.
        check: Raises MailCryptError, or returns what it found.
        needs: The argument of ``check``; it may be secret and is not stored.
        opts: Parent and dependencies.

    """

    async def hook(args: pulumi.ResourceHookArgs) -> None:
        value = cast("_T", await needs.future())
        loop = asyncio.get_running_loop()
        run = GateRun(
            previous=(args.old_inputs or {}).get("input"),
            say=lambda text: loop.call_soon_threadsafe(pulumi.log.info, f"{name}: {text}"),
        )
        try:
            seen = await loop.run_in_executor(_CHECKS, check, value, run)
        except MailCryptError as error:
            end_undisturbed()
            raise RuntimeError(f"{name}: {error}") from None
        pulumi.log.info(f"{name}: {seen}")

    bound = pulumi.ResourceHook(f"{name}-check", hook)
    hooks = pulumi.ResourceHookBinding(before_create=[bound], before_update=[bound])
    merged = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(hooks=hooks))
    return pulumi.Stash(name, input=facts, opts=merged)


def behind(gate_: pulumi.Stash, value: Input[Any]) -> Output[Any]:
    """Return the value, which resolves only after the gate has held."""
    return gate_.urn.apply(lambda _: pulumi.Output.from_input(value))


def generate_once(name: str, secret: str, opts: pulumi.ResourceOptions) -> Output[str]:
    """Keep the first value that was ever passed, as a secret in the state."""
    keep = pulumi.ResourceOptions(ignore_changes=["input"])
    stash = pulumi.Stash(
        name,
        input=pulumi.Output.secret(secret),
        opts=pulumi.ResourceOptions.merge(opts, keep),
    )
    return pulumi.Output.secret(stash.input)
