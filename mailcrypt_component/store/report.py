"""Renders the audit as one self-contained page: no script, no network, light and dark."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from mailcrypt_component.store.audit import MEANINGS, NOT_LOOKED_AT, Audit, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_GOOD: Final = (State.CURRENT, State.RETIRED, State.ENCRYPTED)
_BAD: Final = tuple(state for state in State if state not in {*_GOOD, *NOT_LOOKED_AT})
_TOP_USERS: Final = 40
_ADVICE: Final = {
    State.CLEAR: ("Encrypt them in place:", "mailcrypt encrypt --stack STACK --apply"),
    State.MBOX: (
        "mail_crypt never encrypts them. Convert them to Maildir with doveadm sync; then:",
        "mailcrypt encrypt --stack STACK --apply",
    ),
    State.UNKNOWN: (
        "Nobody can read them without that key. Put it back into the key ring. To see its id:",
        "mailcrypt inspect FILE",
    ),
    State.DAMAGED: ("Restore them from a backup. To see what is wrong:", "mailcrypt inspect FILE"),
    State.RETIRED: (
        "Optional: re-encrypt them to the current key; then the retired key can be removed:",
        "mailcrypt encrypt --stack STACK --apply",
    ),
    State.ENCRYPTED: (
        "To learn whether your key ring opens them, audit the stack:",
        "mailcrypt audit --stack STACK",
    ),
}
"""What to do about mails in each state, and the command that does it or helps."""
_NOT_SEEN: Final = ("Not known to be encrypted: make them readable, and audit again.", "")
_NOTHING: Final = (
    "Nothing is wrong. To prove that your escrow file opens this mail:",
    "mailcrypt drill --escrow FILE --stack STACK",
)


@dataclass(frozen=True, slots=True)
class Row:
    """A labelled bar; ``width`` is in percent of the longest one."""

    name: str
    states: Mapping[State, int]
    total: int
    width: float
    note: str = ""


def report(found: Audit, now: float, host: str = "") -> str:
    """Return the page.

    Args:
        found: The audit; its names may hold anything, they are escaped.
        now: The time to print, in seconds since 1970.
        host: The machine that the audit ran on; left out if empty.

    """
    facts = found.as_json()
    states = _states(facts["states"])
    users = _by_user(facts["folders"])
    return _template().render(
        host=host,
        when=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now)),
        store=found.store,
        total=found.total,
        bad=sum(number for state, number in states.items() if state in _BAD),
        unseen=sum(found.not_looked_at().values()),
        amounts={state: _amount(state, number) for state, number in states.items()},
        states=states,
        meanings=MEANINGS,
        ring=found.key_ids,
        steps=_steps(states),
        keys=_key_rows(found),
        years=_rows((year, _states(counts)) for year, counts in facts["years"].items()),
        users=_rows(users[:_TOP_USERS]),
        more_users=max(len(users) - _TOP_USERS, 0),
        folders=[(one["user"], one["folder"], _states(one)) for one in facts["folders"]],
        examples=[item for item in found.examples().items() if item[0] not in _GOOD],
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("mailcrypt_component", "store"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = "{:,}".format
    environment.filters["mails"] = _mails
    return environment.get_template("report.html.j2")


def _mails(number: int) -> str:
    return f"{number:,} mail" if number == 1 else f"{number:,} mails"


def _amount(state: State, number: int) -> str:
    """Return a number with its unit; what was not looked at need not be mails."""
    return f"{number:,}" if state in NOT_LOOKED_AT else _mails(number)


def _states(counts: Mapping[str, Any]) -> dict[State, int]:
    """Return the counts of a part of the audit's JSON, in the order of ``State``."""
    return {state: counts[state.value] for state in State if state.value in counts}


def _steps(states: Iterable[State]) -> list[tuple[State | None, tuple[str, str]]]:
    """Return what to do about each state, bad ones first."""
    order = sorted((state for state in states if state is not State.CURRENT), key=_is_good)
    return [(state, _ADVICE.get(state, _NOT_SEEN)) for state in order] or [(None, _NOTHING)]


def _is_good(state: State) -> bool:
    return state in _GOOD


def _rows(items: Iterable[tuple[str, Mapping[State, int]]]) -> list[Row]:
    totals = [(name, states, sum(states.values())) for name, states in items]
    largest = max((total for _, _, total in totals), default=1)
    return [
        Row(name, states, total, max(100 * total / largest, 0.5)) for name, states, total in totals
    ]


def _key_rows(found: Audit) -> list[Row]:
    keys = found.by_key()
    rows = _rows((key, {found.state(key): number}) for key, number in keys.items())
    return [
        Row(row.name.replace("+", " and "), row.states, row.total, row.width, MEANINGS[state])
        for row in rows
        for state in row.states
    ]


def _by_user(folders: Iterable[Mapping[str, Any]]) -> list[tuple[str, dict[State, int]]]:
    """Return the counts of each user, those with most mail first."""
    users: dict[str, dict[State, int]] = {}
    for folder in folders:
        mine = users.setdefault(folder["user"], {})
        for state, number in _states(folder).items():
            mine[state] = mine.get(state, 0) + number
    return sorted(users.items(), key=lambda item: -sum(item[1].values()))
