"""Counts the stored mail and tells whether the declared ring can open it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailcrypt_component.model.errors import PreflightError, UnreachableError
from mailcrypt_component.model.words import counted, encrypted_to, mails_are
from mailcrypt_component.store.tally import (
    CLEAR,
    DBOX,
    LINK,
    MBOX,
    NOT_ENCRYPTED,
    UNREADABLE,
    UNREADABLE_FOLDER,
    UNSUPPORTED,
    Tally,
    is_unknown,
)
from mailcrypt_component.store.volume.census import count_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from docker.models.containers import Container

    from mailcrypt_component.checks.preflight.plan import Plan, Previous


def must_count(plan: Plan, previous: Previous | None) -> bool:
    """Tell whether keys or store differ from those of the last preflight that held."""
    return previous is None or (
        previous.mail,
        set(previous.key_ids),
        set(previous.given_up),
        previous.identity,
    ) != (plan.mail, set(plan.key_ids), set(plan.given_up), plan.identity)


def count_mails(container: Container, plan: Plan, say: Callable[[str], object]) -> str:
    """Count the mail in the container's mail folder; return the result in words.

    Raises:
        PreflightError: Mail is encrypted to a key that is not declared, some of the store
            could not be looked at, or the time was up.

    """

    def tell(number: int) -> None:
        if not number % _TOLD:
            say(f"{counted(number, 'mail')} counted")

    try:
        found = count_in(container, deadline=plan.count_deadline, progress=tell)
    except UnreachableError as error:
        raise not_counted(plan, error) from None
    return judge_mails(found, plan)


_TOLD: Final = 10_000


def not_counted(plan: Plan, error: UnreachableError) -> PreflightError:
    """Return the refusal of a store that could not be looked at as a whole."""
    return PreflightError(
        f"stored mail could not be counted: {error.found}",
        where=f"mail store {plan.mail}",
        expected=f"a look at every stored mail within {plan.count_deadline:g} seconds",
        hint="if it takes longer, raise it: pulumi config set mailcrypt:countDeadline 7200",
    )


def judge_mails(found: Tally, plan: Plan) -> str:
    """Return the counts in words.

    Raises:
        PreflightError: Mail cannot be opened with the ring, or could not be looked at.

    """
    _refuse_unseen(found, plan)
    states = found.states()
    ring = {*plan.key_ids, *plan.version_1_ids}
    unknown = [state for state in states if is_unknown(state, ring)]
    refused = [state for state in unknown if is_unknown(state, plan.given_up)]
    if refused:
        raise PreflightError(
            "; ".join(encrypted_to(state, found.by_user(state)) for state in refused),
            where=f"mail store {plan.mail}",
            expected=f"mail encrypted to the declared ring: {', '.join(plan.key_ids)}",
            hint="declare the missing key again behind the new one (keys: [new, old]; its PEM "
            "may be in your escrow file). To drop it later, re-encrypt its mail first: "
            f"mailcrypt encrypt --stack {plan.stack} --apply. If the key is lost for good, "
            f"giveUpKeys: [{', '.join(refused)}] goes on without it and leaves that mail "
            "unreadable",
        )
    lost = sum(states[state] for state in unknown)
    encrypted = sum(number for state, number in states.items() if state not in NOT_ENCRYPTED) - lost
    clear = states.get(CLEAR, 0) + states.get(MBOX, 0)
    given_up = f", {lost} unreadable (giveUpKeys)" if lost else ""
    return f"{mails_are(encrypted)} encrypted to the ring, {clear} in clear{given_up}"


def _refuse_unseen(found: Tally, plan: Plan) -> None:
    """Refuse what no key id could be read of: it may need a key that is not declared."""
    if unseen := found.not_looked_at():
        states = found.states()
        raise PreflightError(
            f"not looked at: {'; '.join(unseen)}",
            where=f"mail store {plan.mail}",
            expected="a store in Maildir format whose every mail root can read",
            hint="; ".join({hint: None for state, hint in _HINTS.items() if states.get(state)}),
        )


_PERMISSIONS: Final = "check the file system and its permissions (NFS root_squash?)"
_HINTS: Final = {
    UNREADABLE_FOLDER: _PERMISSIONS,
    UNREADABLE: _PERMISSIONS,
    UNSUPPORTED: "show what it is: mailcrypt inspect FILE",
    DBOX: "convert it with the old server (doveadm sync -u USER maildir:~/Maildir) and move the "
    "dbox folders out of the store",
    LINK: "move what the link points to into the store, or remove the link",
}
