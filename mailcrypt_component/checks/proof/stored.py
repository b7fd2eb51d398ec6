"""Opens stored mail of each key, and finds keys that the ring lacks.

Every mail's header is read.  Of each key in use the smallest mails of several users are copied,
encrypted as they are, to a folder in memory of the container, and Dovecot opens them there as
the probe.  So neither the mail volume nor a user's mailbox is touched, mail of deleted accounts
is opened, too, and nothing of a mail leaves the container but whether it could be opened.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from mailcrypt_component.checks.preflight.store_identity import MARK_PATH, READ_MARK
from mailcrypt_component.dialects.dialect import Dialect
from mailcrypt_component.model import dms
from mailcrypt_component.model.errors import ProofError, UnreachableError
from mailcrypt_component.model.identity import read_mark
from mailcrypt_component.model.settings import UNMARKED
from mailcrypt_component.model.words import counted, encrypted_to
from mailcrypt_component.store.agent.reader import MAIL
from mailcrypt_component.store.maildir import mailbox_of, shown
from mailcrypt_component.store.tally import (
    NOT_ENCRYPTED,
    UNKNOWN_CONTENT,
    Shapes,
    Tally,
    is_unknown,
    state_of,
    state_of_mail,
)
from mailcrypt_component.store.volume.census import read_mails

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mailcrypt_component.checks.proof.context import Context
    from mailcrypt_component.store.maildir import Mail

_TRIED: Final = 5
"""Mails of each key."""
_PER_USER: Final = 3
"""Candidates of each user, in case there are fewer users than mails to try."""
_LARGEST: Final = 48 << 20
"""Bytes of a mail that is tried, as the folder in memory has 64 MiB by default."""
_ENOUGH: Final = 8 << 20
"""Bytes of all mails of a key that are tried; its smallest mail may have more."""
_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Stored:
    """The mails of a volume: how many there are of each key and user, and which to try.

    A mail's key is its key id; those of a mail to several keys are joined by ``+``.
    """

    number: int
    users: Mapping[str, Mapping[str, int]]
    """By key and user, the number of encrypted mails."""
    candidates: Mapping[str, tuple[Mail, ...]]
    """By key, small mails of several users."""
    unseen: tuple[str, ...]
    """What could not be looked at, one line for each kind."""


def check_stored(context: Context, *, locked: bool) -> str:
    """Check the keys in use and, unless it is locked, open mails of each; return what was seen.

    Raises:
        ProofError: Dovecot cannot open one, the ring lacks a key in use, or the volume is not
            the one that preflight marked.
        UnreachableError: The volume could not be read, or no mail of a key in use be tried.

    """
    _refuse_other_volume(context)
    stored = _look(context)
    _refuse_unknown_keys(context, stored)
    if stored.unseen:
        raise UnreachableError(
            f"not everything could be looked at: {'; '.join(stored.unseen)}",
            where=f"{dms.MAIL_DIR} in {context.where}",
            expected="Maildirs whose mails can all be read",
            hint=f"{context.target.command('audit')} shows what lies there; "
            "move it out of the mail volume",
        )
    opened = set() if locked else _open_some(context, stored)
    return _seen(stored, opened)


def _refuse_other_volume(context: Context) -> None:
    """Refuse a volume without this stack's mark: preflight marked the one that it looked at."""
    if context.target.identity is None:
        return
    where = f"{MARK_PATH} in {context.where}"
    text = context.run(["sh", "-c", READ_MARK]).checked(where=where).decode(errors="replace")
    if not text:
        raise ProofError(
            "the mail volume is not the one of the last update: it has no mark",
            where=where,
            expected=f"the mark {context.target.identity}",
            hint="was it removed or emptied? Restore it from the backup, with that file; to use "
            f"it as it is: pulumi config set mailcrypt:adoptMail {UNMARKED}, then pulumi up",
        )
    if (mark := read_mark(text)).identity != context.target.identity:
        raise ProofError(
            f"the mail volume belongs to the stack {mark.stack} (mark {mark.identity})",
            where=where,
            expected=f"the mark {context.target.identity}",
            hint="restore this stack's own volume; to take that one over: pulumi config set "
            f"mailcrypt:adoptMail {mark.identity}, then pulumi up",
        )


def _look(context: Context) -> Stored:
    """Read every mail's header, except those of the probe.

    Raises:
        UnreachableError: The volume could not be read in time.

    """
    probe = f"{dms.MAIL_DIR}/{context.target.mail_folder}/".encode()
    found = read_mails(context.container, dms.MAIL_DIR, timeout=context.left)
    return count(mail for mail in found if not mail.path.startswith(probe))


def count(mails: Iterator[Mail]) -> Stored:
    """Count mails by key and user, and keep the smallest ones."""
    number, shapes, unseen = 0, Shapes(), Tally()
    users: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    smallest: dict[str, dict[str, list[Mail]]] = defaultdict(lambda: defaultdict(list))
    for mail in mails:
        number += mail.kind == MAIL
        state = _state(mail, shapes)
        directory = mail.path.removeprefix(dms.MAIL_DIR.encode() + b"/").rpartition(b"/")[0]
        mailbox = mailbox_of(directory, has_mails=mail.kind == MAIL)
        if state not in NOT_ENCRYPTED:
            users[state][mailbox.user] += 1
            _keep(smallest[state][mailbox.user], mail)
        elif state in UNKNOWN_CONTENT:
            unseen.add(mailbox, {state: 1})
            unseen.add_example(state, shown(mail.path))
    chosen = {key: _spread(by_user) for key, by_user in smallest.items()}
    return Stored(number, users, chosen, tuple(unseen.not_looked_at()))


def _state(mail: Mail, shapes: Shapes) -> str:
    """Return the key that a mail is encrypted to, or what it is otherwise."""
    if mail.kind == MAIL and (found := shapes.match(mail.prefix)):
        return shapes.state(found)
    state = state_of_mail(mail)
    if state not in NOT_ENCRYPTED:
        shapes.learn(mail.prefix)
    return state


def _keep(kept: list[Mail], mail: Mail) -> None:
    """Keep a mail if it is one of the smallest."""
    if mail.size > _LARGEST or (len(kept) == _PER_USER and mail.size >= kept[-1].size):
        return
    kept.append(mail)
    kept.sort(key=lambda one: one.size)
    del kept[_PER_USER:]


def _spread(by_user: Mapping[str, Sequence[Mail]]) -> tuple[Mail, ...]:
    """Return some mails: the smallest one of each user first."""
    ranked = [(rank, mail) for kept in by_user.values() for rank, mail in enumerate(kept)]
    ranked.sort(key=lambda pair: (pair[0], pair[1].size))
    chosen: list[Mail] = []
    for _, mail in ranked[:_TRIED]:
        if not chosen or sum(one.size for one in chosen) + mail.size <= _ENOUGH:
            chosen.append(mail)
    return tuple(chosen)


def _refuse_unknown_keys(context: Context, stored: Stored) -> None:
    """Make sure that the ring has every key in use.

    Raises:
        ProofError: Stored mail is encrypted to a key that the ring lacks.

    """
    known = {*_ring_ids(context), *context.target.given_up}
    unknown = [key for key in stored.users if is_unknown(key, known)]
    if unknown:
        raise ProofError(
            "; ".join(
                f"{encrypted_to(key, stored.users[key])}, which the ring lacks" for key in unknown
            ),
            where=f"{dms.MAIL_DIR} in {context.where}",
            expected=f"mail encrypted to the declared ring: {', '.join(context.target.key_ids)}",
            hint="declare the missing key again behind the current one (keys: [current, old]; its "
            "PEM may come from your escrow), then pulumi up. If it is lost for good, giveUpKeys: "
            f"[{', '.join(unknown)}] goes on without it and leaves that mail unreadable",
        )


def _ring_ids(context: Context) -> set[str]:
    """Return all ids by which stored mail can name a key of the ring."""
    return {*context.target.key_ids, *context.target.version_1_ids}


def _open_some(context: Context, stored: Stored) -> set[Mail]:
    """Let Dovecot open mails of each key in use; return those that it has opened.

    Raises:
        ProofError: It cannot open one.
        UnreachableError: No mail of a key that is in use could be tried.

    """
    ring = _ring_ids(context)
    for _ in range(_TRIES):  # A mail may be moved or deleted by its user meanwhile.
        keys = [key for key in stored.users if not is_unknown(key, ring)]
        opened = _open(context, [mail for key in keys for mail in stored.candidates[key]])
        untried = [key for key in keys if not opened & set(stored.candidates[key])]
        if not untried:
            return opened
        stored = _look(context)
    raise UnreachableError(
        f"{encrypted_to(untried[0], stored.users[untried[0]])}, and none of them could be tried",
        where=f"{dms.MAIL_DIR} in {context.where}",
        expected=f"mails of at most {_LARGEST >> 20} MiB that can be copied to /dev/shm",
        hint=f"run it again; {context.target.command('audit')} shows what lies there",
    )


def _seen(stored: Stored, opened: set[Mail]) -> str:
    parts = []
    for key, users in stored.users.items():
        number = sum(users.values())
        tried = opened & set(stored.candidates[key])
        mails = f"{counted(number, 'mail')} of key {key[:12]}"
        parts.append(f"{mails}, {len(tried)} of them opened" if tried else mails)
    return f"{'; '.join(parts) or 'none encrypted'} ({counted(stored.number, 'mail')} looked at)"


def _open(context: Context, mails: Sequence[Mail]) -> set[Mail]:
    """Return the mails that Dovecot has opened.

    Raises:
        ProofError: It has tried one that it cannot open.

    """
    if not mails:
        return set()
    folder = f"/dev/shm/mailcrypt-{context.probe.delivered.message_id.partition('@')[0]}"  # noqa: S108
    pairs = b"".join(
        mail.path + b"\0" + f"{folder}/cur/{index}-".encode() + _name(mail) + b"\0"
        for index, mail in enumerate(mails)
    )
    options = [folder, context.target.account, *_located(context, folder)]
    done = context.run(["sh", "-c", _program(), "sh", *options], stdin=pairs)
    said = done.stderr.decode(errors="replace")
    if broken := re.search(r".*/cur/(\d+)-.*", said):
        _refuse(context, mails[int(broken.group(1))], broken.group())
    if done.exit_code:
        raise UnreachableError(said.strip(), where=f"doveadm fetch in {context.where}")
    listed = re.findall(r"^(\d+)-", done.stdout.decode(errors="replace"), re.MULTILINE)
    return {mails[int(index)] for index in listed}


def _program() -> str:
    return Path(__file__).with_name("open_copies.sh").read_text(encoding="utf-8")


def _name(mail: Mail) -> bytes:
    """Return a mail's name with the sizes in it, which Dovecot compares with the content."""
    return mail.path.rpartition(b"/")[2].partition(b":")[0] + b":2,S"


def _located(context: Context, folder: str) -> list[str]:
    """Return the options that let doveadm take a folder for the user's mail."""
    if context.target.dialect is Dialect.V2_3:
        return ["-o", f"mail_location=maildir:{folder}"]
    names = ("mail_path", "mail_inbox_path", "mail_index_path", "mail_cache_path")
    chosen = ["mail_driver=maildir", *(f"{name}={folder}" for name in names)]
    return [argument for setting in chosen for argument in ("-o", setting)]


def _refuse(context: Context, mail: Mail, said: str) -> NoReturn:
    """Report a mail that does not open.  With the current key, the probe was read just before."""
    state = state_of(mail.prefix, mail.size)
    damaged = "restore it from a backup, or move it out of the mail volume"
    current = context.target.key_id in state.split("+")
    raise ProofError(
        f"Dovecot cannot open a stored mail that is encrypted to key {state}: {said}",
        where=shown(mail.path),
        expected="each key of the ring to open what is encrypted to it",
        hint=f"the probe was read with this key, so the mail's file is damaged: {damaged}"
        if current
        else f"{context.target.command('repair')} brings the ring's own keys back into the "
        f"server. If the proof then says the same, the mail's file is damaged: {damaged}",
    )
