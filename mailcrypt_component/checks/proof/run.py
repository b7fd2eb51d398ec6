"""Prove a running server: two mails go in, must lie there encrypted, and come back.

In order: the container lives and LMTP and IMAP answer; Dovecot's own view of its
configuration; one mail through Postfix and LMTP and one through IMAP; both files
parsed by our own format code; the tokens nowhere in clear; both read back; the
probe mails removed; one stored mail of each retired key opened.  Raises where anything
is not so: there is no boolean.
"""

from __future__ import annotations

import imaplib
import re
import secrets
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final, TypeVar, cast

import docker.errors
import tenacity

from mailcrypt_component.checks import doveconf
from mailcrypt_component.checks.proof.evidence import Check, Evidence
from mailcrypt_component.checks.proof.imap import LoginRefused, done, log_in, speaking
from mailcrypt_component.checks.proof.retired import open_retired
from mailcrypt_component.dcrypt.header import NotEncrypted, parse_header
from mailcrypt_component.docker_api.connect import connect, moment, refresh
from mailcrypt_component.docker_api.run import execute
from mailcrypt_component.docker_api.shell import shell
from mailcrypt_component.exposure.coverage import Cover, coverage
from mailcrypt_component.model import dms
from mailcrypt_component.model.errors import (
    FormatError,
    MailCryptError,
    ProofError,
    UnreachableError,
)
from mailcrypt_component.store.maildir import is_mail_folder
from mailcrypt_component.store.volume.census import mails_of, reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from imaplib import IMAP4

    from docker.models.containers import Container

    from mailcrypt_component.checks.proof.target import Target
    from mailcrypt_component.docker_api.run import Result
    from mailcrypt_component.docker_api.shell import Shell
    from mailcrypt_component.store.maildir import Mail

_T = TypeVar("_T")
_CIPHER: Final = "aes-256-gcm"
_OTHER_PLACES: Final = (dms.LOG_DIR, dms.STATE_DIR, "/tmp", "/var/tmp")  # noqa: S108
_CLEAR_PLACES: Final = (dms.MAIL_DIR, *_OTHER_PLACES)
_NOT_MAIL: Final = "-name lib-clamav -prune -o"
"""ClamAV's signatures: hundreds of megabytes that each start of DMS gives their owner again."""
_CLEANING_SECONDS: Final = 1.0
_DOUBT_SECONDS: Final = 2.0
_ACCOUNT_SECONDS: Final = 6.0
_START_SECONDS: Final = 30.0
_TRANSIENT_SECONDS: Final = 3.0


def verify(target: Target, progress: Callable[[Check], None] = lambda _: None) -> Evidence:
    """Prove that a server stores mail encrypted to the current key, and readable.

    Args:
        target: The server, the key and the probe account.
        progress: Called after each check.

    Raises:
        ProofError: The server is not what it should be; the message says how.
        UnreachableError: It could not be found out.

    """
    return _Proof(target, progress).run()


def coverage_of(target: Target) -> tuple[Cover, ...]:
    """Return what of a server's data is encrypted and what is not.

    Raises:
        UnreachableError: It could not be found out.

    """
    return coverage(_find(target), timeout=target.deadline)


class _Proof:
    """One run of the proof, with its clock and its tokens."""

    def __init__(self, target: Target, progress: Callable[[Check], None]) -> None:
        self._target = target
        self._progress = progress
        self._start = time.monotonic()
        self._checks: list[Check] = []
        self._message_id = f"{secrets.token_hex(8)}@probe.invalid"
        self._tokens = (secrets.token_hex(16), secrets.token_hex(16))
        self._container = _find(target)
        self._shell: Shell
        self._configuration: Callable[[], Result]
        self._awaited = "an answer"
        self._doubted = -_DOUBT_SECONDS
        self._faulty = False
        self._refused = 0.0

    def run(self) -> Evidence:
        try:
            with ExitStack() as held:
                self._prove(held)
        except UnreachableError:
            # Where it is the deadline that passed, or the server that died, that is said.
            self._left()
            _require_running(self._container)
            raise
        return Evidence(self._target.container, self._target.key_id, tuple(self._checks))

    def _prove(self, held: ExitStack) -> None:
        self._open_shell(held)
        imap = self._poll(lambda: self._logged_in(held), 0.2)
        with _emptied(imap):
            self._saw("delivery", self._deliver(imap))
            self._saw("on disk", self._check_files())
            self._saw("in clear", self._search_clear())
            self._saw("read back", self._read_back(imap))
        if retired := self._target.key_ids[1:]:
            seen = open_retired(self._container, retired, timeout=self._left())
            self._saw("retired keys", seen)

    def _saw(self, name: str, seen: str) -> None:
        check = Check(name, seen, round(time.monotonic() - self._start, 3))
        self._checks.append(check)
        self._progress(check)

    def _left(self) -> float:
        """Return the seconds that are left; the last one of them is for cleaning up."""
        left = self._target.deadline - (time.monotonic() - self._start)
        if left <= min(_CLEANING_SECONDS, self._target.deadline / 10):
            raise UnreachableError(
                f"the deadline of {self._target.deadline:.0f} s has passed; last: {self._awaited}"
                f"{_log_tail(self._container, patience=0.0)}",
                where=f"container {self._container.name}",
                hint="raise mailcrypt:deadline if the server is merely slow",
            )
        return left

    def _log_tail(self) -> str:
        return _log_tail(self._container)

    def _poll(self, question: Callable[[], _T | None], pause: float) -> _T:
        """Ask until there is an answer; the deadline and a dead container end it.

        The first pause is this many seconds; each one is somewhat longer than that before.
        """
        waiting = tenacity.Retrying(
            wait=tenacity.wait_exponential(multiplier=pause, exp_base=1.3, max=1.0),
            retry=tenacity.retry_if_result(lambda answer: answer is None),
        )
        return cast("_T", waiting(self._within_deadline, question))

    def _within_deadline(self, question: Callable[[], _T | None]) -> _T | None:
        self._left()
        return question()

    def _open_shell(self, held: ExitStack) -> None:
        _require_running(self._container)
        self._shell = held.enter_context(shell(self._container, timeout=self._left()))

    def _logged_in(self, held: ExitStack) -> IMAP4 | None:
        """Return a login that stays; None where Dovecot does not answer, or ends it at once."""
        answer = self._answers(held)
        if answer is None:
            return None
        if not self._checks:
            self._saw("server", answer)
        target = self._target
        self._awaited = "IMAP has not let the probe's account in yet"
        try:
            with ExitStack() as tried:
                connection = self._shell.dial(dms.PORTS["imap"])
                imap = tried.enter_context(speaking(connection, self._log_tail))
                log_in(imap, target.account, target.password, self._log_tail)
                held.push(tried.pop_all())
        except MailCryptError as error:
            # Where the configuration is wrong, that is the cause, and told instead.
            configuration = self._judge(self._configuration())
            if isinstance(error, UnreachableError):
                self._awaited = f"IMAP does not answer: {error.found}"
                return None
            if self._may_be_let_in_yet(error):
                self._awaited = error.found
                return None
            self._saw("configuration", configuration)
            raise
        self._saw("configuration", self._judge(self._configuration()))
        return imap

    def _may_be_let_in_yet(self, error: MailCryptError) -> bool:
        """Tell whether DMS may just be writing the accounts anew, which takes it seconds."""
        if not isinstance(error, LoginRefused):
            return False
        self._refused = self._refused or time.monotonic()
        patience = min(_ACCOUNT_SECONDS, self._target.deadline / 4)
        return time.monotonic() - self._refused < patience

    def _answers(self, held: ExitStack) -> str | None:
        _require_running(self._container)
        asked: Callable[[], Result] | None = None
        if time.monotonic() - self._doubted >= _DOUBT_SECONDS:
            self._doubted = time.monotonic()
            asked = self._shell.begin(doveconf.QUESTION)  # Meanwhile: most servers are up.
        try:
            result = self._shell.run(dms.HEALTH_CHECK[1:])
        except UnreachableError as broken:  # The container may have been started anew.
            self._awaited = broken.found
            self._open_shell(held)
            return None
        if result.exit_code == 0:
            self._configuration = asked or self._shell.begin(doveconf.QUESTION)
            return result.stdout.decode().strip()
        self._awaited = result.stdout.decode(errors="replace").strip() or "no answer"
        # A configuration that cannot load, or a key, will not get better by waiting.
        if asked:
            self._doubt_dovecot(asked())
        self._refuse_unread_key()
        return None

    def _doubt_dovecot(self, answer: Result) -> None:
        """Refuse what is wrong in two answers, the second after DMS has written its files."""
        try:
            self._judge(answer)
            self._faulty = False
        except ProofError:
            if self._faulty and self._has_started():
                raise
            self._faulty = True

    def _has_started(self) -> bool:
        late = time.monotonic() - self._start > _START_SECONDS
        return late or any(dms.STARTED in line for line in _log_of(self._container))

    def _refuse_unread_key(self) -> None:
        said = "\n".join(_log_of(self._container))
        if fault := re.search(r"(?:Fatal|Error): .*mail_crypt_plugin: (.+)", said):
            raise ProofError(
                f"mail_crypt cannot start: {fault.group(1)}",
                where=f"container {self._container.name}",
                expected="the ring's keys as files that Dovecot reads",
                hint="take away what changes them in the container (user-patches.sh); then "
                f"'docker rm -f {self._container.name}' and 'pulumi up --refresh'",
            )

    def _judge(self, answer: Result) -> str:
        version = doveconf.judge(
            answer, self._target.dialect, ProofError, where=str(self._container.name)
        )
        return f"Dovecot {version} loads mail_crypt in {', '.join(dms.PROTOCOLS)}"

    def _deliver(self, imap: IMAP4) -> str:
        account, (lmtp, append) = self._target.account, self._tokens
        argv = ["sendmail", "-f", account, account]
        sent = self._shell.begin(argv, _message(account, self._message_id, lmtp))
        done(imap.append("INBOX", "", "", _message(account, self._message_id, append)), "APPEND")
        if (result := sent()).exit_code:
            raise ProofError(
                result.stderr.decode(errors="replace").strip(), where="sendmail in the container"
            )
        self._awaited = "the probe mail is under way"
        self._poll(lambda: self._arrived(imap), 0.01)
        return "one mail through Postfix and LMTP, one through IMAP APPEND"

    def _files(self) -> list[Mail]:
        """Return what lies in the probe's Maildir; nothing where there is none yet."""
        self._left()
        found = self._shell.run(reading(f"{dms.MAIL_DIR}/{self._target.mail_folder}"))
        return [
            mail
            for mail in mails_of([found.stdout])
            if is_mail_folder(mail.path.rpartition(b"/")[0])
        ]

    def _arrived(self, imap: IMAP4) -> str | None:
        _require_running(self._container)
        if len(_numbers(imap)) >= len(self._tokens):
            # What IMAP has listed lies still.
            files = len(self._files())
            if files < len(self._tokens):
                raise self._elsewhere(files)
            return "arrived"
        self._refuse_undelivered()
        return None

    def _refuse_undelivered(self) -> None:
        refusal = self._refusal()
        if refusal:
            raise ProofError(
                f"the probe mail was not delivered: {refusal}",
                where="mail.log",
                expected=f"status=sent, to {self._target.account} by LMTP",
                hint=_hint_for(refusal),
            )

    def _elsewhere(self, files: int) -> ProofError:
        """Tell that the mailbox is not where mail has to lie."""
        argv = ["sh", "-c", "doveconf mail_location 2>/dev/null || doveconf mail_driver mail_path"]
        said = self._shell.run(argv).stdout.decode(errors="replace")
        return ProofError(
            f"IMAP shows both probe mails, and {files} of them lie in the mail volume "
            f"({', '.join(said.strip().splitlines())})",
            where=f"{dms.MAIL_DIR}/{self._target.mail_folder}",
            expected="Maildir there: a encrypted file for each mail",
            hint="take mail_location, mail_driver and mail_path out of dovecot.cf",
        )

    def _refusal(self) -> str | None:
        """Return what the log says of a delivery of this run that did not succeed."""
        argv = ["tail", "-n", "500", f"{dms.LOG_DIR}/mail.log"]
        log = self._shell.run(argv).stdout.decode(errors="replace")
        queued = re.search(rf"(\w+): message-id=<{self._message_id}>", log)
        if queued is None:
            return None
        taken = re.search(rf"{queued.group(1)}: ((?:discard|reject|hold): .*)", log)
        if taken:
            return taken.group(1)
        tries = re.findall(rf"{queued.group(1)}: (to=.*status=(?:bounced|deferred).*)", log)
        aliased = rf"{queued.group(1)}: (to=.*{_ALIASED}<{re.escape(self._target.account)}>.*)"
        tries += re.findall(aliased, log)
        if not tries:
            return None
        if _LOCALLY in tries[-1] or _ALIASED in tries[-1]:
            return str(tries[-1])
        if "status=bounced" in tries[-1] or "dovecot/lmtp" in tries[-1]:
            return str(tries[-1]).partition("status=")[2]
        # A filter before delivery is still starting up; Postfix would wait for minutes.
        self._shell.run(["postqueue", "-f"])
        return None

    def _check_files(self) -> str:
        files = self._files()
        for mail in files:
            self._check_file(mail.path.decode(errors="replace"), mail.prefix)
        return f"{len(files)} files encrypted ({_CIPHER}, version 2) to {self._target.key_id}"

    def _check_file(self, path: str, prefix: bytes) -> None:
        expected = f"encrypted (version 2, AEAD, {_CIPHER}) to key {self._target.key_id} alone"
        try:
            header = parse_header(prefix)
        except NotEncrypted:
            raise ProofError(
                "a mail that was just stored lies there in clear",
                where=path,
                expected=expected,
                hint="look for mail_plugins and mail_crypt_save_version in dovecot.cf "
                "and in files mounted into conf.d",
            ) from None
        except FormatError as error:
            raise ProofError(str(error), where=path, expected=expected) from None
        if not header.is_aead or header.cipher != _CIPHER:
            found = f"{header.cipher}, {header.flags!r}"
            raise ProofError(f"weakly encrypted: {found}", where=path, expected=expected)
        ids = [recipient.key_id for recipient in header.recipients]
        if ids != [self._target.key_id]:
            raise ProofError(
                f"encrypted to {', '.join(ids)}",
                where=path,
                expected=expected,
                hint="the public key in the container is not the declared ring's",
            )

    def _search_clear(self) -> str:
        """Look for the tokens in every file that is new since the start.

        DMS gives all mail its owner again when an account is added, which renews each
        file's time of change, so in the mail volume the time of its content counts.
        """
        minutes = int((time.monotonic() - self._start) / 60) + 2
        script = (
            "umask 077; tokens=$(mktemp -p /dev/shm); cat >$tokens; "
            f'grep="-exec grep -laF -f $tokens {{}} +"; find {dms.MAIL_DIR} -type f '
            f"-mmin -{minutes} $grep; find {' '.join(_OTHER_PLACES)} {_NOT_MAIL} -type f "
            f"-cmin -{minutes} $grep; rm -f $tokens"
        )
        stdin = "".join(f"{token}\n" for token in self._tokens).encode()

        def files() -> list[str]:
            result = self._shell.run(["sh", "-c", script], stdin)
            return result.stdout.decode(errors="replace").split("\n")[:-1]

        # A filter's own copy is there as long as it works on the mail: look again before crying.
        again = tenacity.Retrying(
            stop=tenacity.stop_after_delay(_TRANSIENT_SECONDS),
            wait=tenacity.wait_fixed(0.5),
            retry=tenacity.retry_if_result(bool),
            retry_error_callback=lambda state: state.outcome and state.outcome.result(),
        )
        found: list[str] = again(files)
        if found:
            raise ProofError(
                "the content of a probe mail lies there in clear",
                where=", ".join(found[:5]),
                expected="nothing in clear outside Postfix's queue",
                hint="look at what copies mail there: a sieve script, an archive, an index",
            )
        return f"neither token in any file below {', '.join(_CLEAR_PLACES)}"

    def _read_back(self, imap: IMAP4) -> str:
        numbers = _numbers(imap)
        bodies = [done(imap.fetch(n, "(BODY.PEEK[])"), "FETCH")[0][1] for n in numbers]
        for token in self._tokens:
            expected = f"\r\n\r\n{token}\r\n".encode()
            if sum(body.endswith(expected) for body in bodies) != 1:
                self._refuse_undelivered()  # What came in its place is Postfix's report.
                raise ProofError(
                    "a probe mail did not come back as it was sent",
                    where="IMAP FETCH",
                    expected="the same bytes",
                )
        return "both mails, byte for byte, over IMAP"


def _message(account: str, message_id: str, token: str) -> bytes:
    """Return a probe mail.

    A subject would go into the index cache, so the body has the token.  Postfix logs the
    Message-ID when it reads it, so that it comes before what a header check may do.
    """
    head = f"Message-ID: <{message_id}>\r\nFrom: {account}\r\nTo: {account}\r\n"
    return f"{head}Subject: probe\r\n\r\n{token}\r\n".encode()


_LOCALLY: Final = "relay=local,"
_ALIASED: Final = "orig_to="


def _hint_for(refusal: str) -> str:
    if _ALIASED in refusal:
        return f"an alias takes it; {dms.ALIASES_FILE} has to name the probe as its own alias"
    if _LOCALLY in refusal:
        return (
            "the host name is the mail's domain, too: take another host name, or set "
            "'mydestination = localhost' in postfix-main.cf"
        )
    return "Dovecot's own lines before it in mail.log say why"


def _find(target: Target) -> Container:
    try:
        return connect(target.docker_host).containers.get(target.container)
    except docker.errors.NotFound:
        raise UnreachableError(
            "there is no such container",
            where=f"container {target.container}",
            expected="a running server",
            hint="pulumi up",
        ) from None


def _require_running(container: Container) -> None:
    refresh(container)
    if container.status != "running" or container.attrs["State"].get("Restarting"):
        raise ProofError(
            f"the container is {container.status}{_log_tail(container)}",
            where=f"container {container.name}",
            expected="a running server",
        )


def _log_of(container: Container) -> list[str]:
    """Return the last lines that the container has printed since it was started."""
    try:
        since = moment(container.attrs["State"]["StartedAt"])
        return container.logs(tail=60, since=since).decode(errors="replace").splitlines()
    except (docker.errors.DockerException, OSError):  # Of one that never ran there is none, either.
        return []


def _dovecot_log_of(container: Container) -> list[str]:
    """Return the last lines that Dovecot has left with the supervisor since the start."""
    try:
        since = container.attrs["State"]["StartedAt"]
        tail = f"find {dms.DOVECOT_LOG} -newermt {since} -exec tail -n 20 {{}} +"
        result = execute(container, tail.split(), timeout=_CLEANING_SECONDS)
    except (docker.errors.DockerException, OSError, MailCryptError):  # It does not run any more.
        return []
    return result.stdout.decode(errors="replace").splitlines()


def _log_tail(container: Container, *, patience: float = 1.0) -> str:
    """Return what the log says of a fault; its lines come a moment later than the fault."""
    waiting = tenacity.Retrying(
        stop=tenacity.stop_after_delay(patience),
        wait=tenacity.wait_fixed(0.2),
        retry=tenacity.retry_if_result(lambda lines: not lines),
        retry_error_callback=lambda _: [],
    )

    def found() -> list[str]:
        lines = _log_of(container) + _dovecot_log_of(container)
        return [line for line in lines if re.search(r"(?i)fatal|error|panic", line)]

    faults: list[str] = waiting(found)
    lines = faults or _log_of(container)
    return "; its last log lines:\n    " + "\n    ".join(lines[-6:]) if lines else ""


def _numbers(imap: IMAP4) -> list[str]:
    """Return the numbers of the mails that are there now."""
    done(imap.noop(), "NOOP")
    found: bytes = done(imap.search(None, "ALL"), "SEARCH")[0]
    return found.decode().split()


@contextmanager
def _emptied(imap: IMAP4) -> Iterator[None]:
    """Empty the probe's mailbox before and after; what was found wrong comes first."""
    _empty(imap)
    try:
        yield
    except BaseException:
        with suppress(imaplib.IMAP4.error, OSError, ProofError):
            _empty(imap)
        raise
    _empty(imap)


def _empty(imap: IMAP4) -> None:
    """Remove every mail of the probe's mailbox, those of killed runs too."""
    numbers = _numbers(imap)
    if numbers:
        done(imap.store(",".join(numbers), "+FLAGS.SILENT", r"(\Deleted)"), "STORE")
        done(imap.expunge(), "EXPUNGE")
