"""Mail under load: every mail is known byte for byte, so that none can be lost, doubled or bent."""

import itertools
import re
import secrets
import smtplib
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from tests.stacks import Stack
from tests.thief.mails import OTHER, USER, imap, submission

SENDERS = 4
PATIENCE = 5
"""Seconds after which a sender gives up: a network that is gone sends no answer at all."""
PAUSE = 0.1
_ID = re.compile(rb"\r\nX-Load: (\w+)\r\n")


def load_mail(number):
    """Return a new mail's id and bytes; every third one is filed by sieve, some are large."""
    name = f"load{number:05}{secrets.token_hex(4)}"
    lines = 3000 if number % 20 == 7 else 20
    head = [
        f"From: <{OTHER}>",
        f"To: <{USER}>",
        f"Subject: {'filed' if number % 3 == 0 else 'plain'} {number}",
        f"X-Load: {name}",
        "",
    ]
    body = [f"{name} {line} {secrets.token_hex(24)}" for line in range(lines)]
    return name, "\r\n".join([*head, *body, ""]).encode()


def send_load(stack, number):
    """Send mails over several connections at once; return them by id, each one accepted."""
    mails = dict(map(load_mail, range(number)))

    def send(share):
        with submission(stack, OTHER) as client:
            for mail in share:
                assert client.sendmail(OTHER, USER, mail) == {}

    shares = [list(mails.values())[start::SENDERS] for start in range(SENDERS)]
    with ThreadPoolExecutor(SENDERS) as pool:
        list(pool.map(send, shares))
    return mails


class Stream:
    """A sender that goes on whatever happens; it knows which mails were accepted."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.accepted = {}
        self.uncertain = {}
        """Mails whose connection broke before the answer came: they may have been accepted."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        numbers = itertools.count()
        while not self._stop.is_set():
            with (
                suppress(OSError, smtplib.SMTPException, AssertionError),
                submission(self._stack, OTHER, PATIENCE) as client,
            ):
                while not self._stop.is_set():
                    self._send(client, *load_mail(next(numbers)))
                    self._stop.wait(PAUSE)
            self._stop.wait(PAUSE)

    def _send(self, client, name, mail):
        self.uncertain[name] = mail
        client.sendmail(OTHER, USER, mail)
        self.accepted[name] = self.uncertain.pop(name)

    def wait_for(self, number: int, seconds: float = 120) -> None:
        """Return once that many more mails were accepted."""
        wanted, end = len(self.accepted) + number, time.monotonic() + seconds
        while len(self.accepted) < wanted:
            assert time.monotonic() < end, f"{len(self.accepted)} of {wanted} mails accepted"
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop sending."""
        self._stop.set()
        self._thread.join()


_STATE = "supervisorctl status || :; ps ax; tail -n 40 /var/log/mail/mail.log; postsuper || :"


def wait_for_queue(stack, seconds=120):
    """Wait until Postfix has delivered everything; what was deferred is tried again at once."""
    end = time.monotonic() + seconds
    while "queue is empty" not in (said := stack.run("postqueue -f && postqueue -p || :")):
        assert time.monotonic() < end, said + stack.run(_STATE)
        time.sleep(0.5)


def read_load(stack):
    """Return every stored mail of the load as (id, bytes), as an IMAP client reads it."""
    found = []
    with imap(stack) as client:
        for folder in ("INBOX", "Filed"):
            said, (number,) = client.select(folder, readonly=True)
            if said != "OK" or number == b"0":
                continue
            _, answers = client.fetch("1:*", "(BODY.PEEK[])")
            bodies = [answer[1] for answer in answers if isinstance(answer, tuple)]
            found += [(name[1].decode(), body) for body in bodies if (name := _ID.search(body))]
    return found


def faults(sent, stored):
    """Return what is wrong: mails that are missing, bent, or there several times."""
    times = Counter(name for name, _ in stored)
    bent = {name for name, body in stored if name in sent and not body.endswith(sent[name])}
    return {
        "missing": sorted(set(sent) - set(times)),
        "bent": sorted(bent),
        "doubled": sorted(name for name, number in times.items() if number > 1),
    }


NONE = {"missing": [], "bent": [], "doubled": []}
