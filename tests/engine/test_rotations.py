"""Rotation after rotation on a store that keeps receiving mail, over the step to Dovecot 2.4."""

import json
import re
import subprocess
import threading
import time
from collections import Counter

import pytest

from tests.stacks import changed

pytestmark = [pytest.mark.engine, pytest.mark.long]

ADDRESS = "user@example.test"
STOPS = 7
RING = {"mailcrypt-preflight", "mailcrypt-server", "mailcrypt-proof"}


class Senders:
    """Hands mail to the server's Postfix, one after the other, whenever the server is there."""

    def __init__(self, stack):
        self.tried, self.taken = 0, set()
        self._stack, self._stop = stack, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _run(self):
        # An exec into a container that is just being removed may hang.
        argv = ["timeout", "10", "docker", "exec", "-i", self._stack.container]
        # Postfix's queue is not yet the one that stays, before Postfix runs.
        argv += ["sh", "-c", f"pgrep -x master >/dev/null && sendmail -f {ADDRESS} {ADDRESS}"]
        while not self._stop.is_set():
            mail = f"Subject: test\n\nsent number {self.tried}.\n"
            done = subprocess.run(argv, input=mail, text=True, capture_output=True, check=False)
            if done.returncode == 0:
                self.taken.add(self.tried)
            self.tried += 1
            time.sleep(0.1)


def audited(stack):
    """Return how many mails each key id and ``clear`` have, as the audit counts them."""
    done = stack.mailcrypt("audit", "--json", "--fail-on", "none")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return Counter(found["keys"]) + Counter(clear=found["states"].get("clear", 0))


def wait_for_the_queue(stack):
    stack.run(
        # A mail that is deferred after a flush waits for the next one.
        "for i in $(seq 60); do mailq | grep -q empty && exit 0; postqueue -f; sleep 1; done;"
        " mailq; exit 1"
    )


def test_three_rotations_while_mail_arrives(make_stack):
    """Nothing is lost or doubled, all is read, and in the end one key is enough."""
    stack = make_stack("rotate", image="mailcrypt-dms-dev:12")
    stack.green()
    ids = [stack.outputs()["keyId"]]
    ring = [{"name": "k1"}]
    with Senders(stack) as senders:
        for name in ("k2", "k3"):
            ring = [{"name": name}, *ring]
            assert changed(stack.green(keys=ring)) >= RING
            ids.insert(0, stack.outputs()["keyId"])
            time.sleep(1)
        # Back to an older key, and forth again.
        stack.green(keys=[ring[1], ring[0], ring[2]])
        assert stack.outputs()["keyIds"] == [ids[1], ids[0], ids[2]]
        stack.green(keys=ring)
        # Mail from a time without encryption, and Dovecot 2.4 over all of it.
        stack.run(
            "cd /var/mail/example.test/user/cur && printf 'Subject: old\n\nin clear.\n'"
            " > 1500000000.M1P1.mail,S=24:2,S && chown docker:docker 15*"
        )
        proven = stack.green(image="mailcrypt-dms-dev:13")
        assert proven.count("opened") >= 2
        ring = [{"name": "k4"}, *ring]
        stack.green(keys=ring)
        ids.insert(0, stack.outputs()["keyId"])
        time.sleep(1)
    wait_for_the_queue(stack)
    before = audited(stack)
    assert set(before) == {*ids, "clear"}
    assert before["clear"] == 1

    done = stack.mailcrypt("encrypt", "--apply", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["were_in_clear"] == 1
    assert audited(stack) == {ids[0]: before.total()}
    stack.green(keys=[{"name": "k4"}])
    assert changed(stack.green()) == set()
    mail = stack.read_all()
    numbers = [int(number) for number in re.findall(r"sent number (\d+)\.", mail)]
    assert len(numbers) == before.total() - 1
    # SMTP delivers at least once: a server that is stopped in the middle delivers again.
    assert len(numbers) - len(set(numbers)) <= STOPS
    assert senders.taken <= set(numbers) <= set(range(senders.tried))
    assert mail.count("in clear.") == 1
