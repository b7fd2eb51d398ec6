"""The host of a server goes down again and again, while mail arrives."""

import imaplib
import random
import time
from contextlib import suppress

import pytest

from tests.stacks import ALL
from tests.thief.engine import EngineStack, disk_engine, require_root
from tests.thief.load import Stream, faults, read_load, wait_for_queue
from tests.thief.mails import ACCOUNTS, imap, install_sieve, number_of_mails
from tests.thief.test_thief import IMAGES

TIMES = 20
SECONDS = 120
pytestmark = [pytest.mark.engine, pytest.mark.timeout(3600)]


def is_locked(stack):
    """Tell whether a login is refused because the server is locked; None if nobody answers."""
    try:
        with imap(stack):
            return False
    except imaplib.IMAP4.error as error:
        return "locked" in str(error) or None
    except (OSError, AssertionError):
        return None


def wait_for(look, seconds=SECONDS):
    """Return the first answer that is not None."""
    end = time.monotonic() + seconds
    while (answer := look()) is None:
        assert time.monotonic() < end
        time.sleep(0.2)
    return answer


def reading(stack):
    """Return how many mails a client sees; None while it cannot log in."""
    with suppress(imaplib.IMAP4.error, OSError):
        return number_of_mails(stack)


class TestReboots:
    """Engine and containers are stopped or killed at any moment."""

    __test__ = ALL

    @pytest.mark.parametrize("dialect", IMAGES)
    def test_no_accepted_mail_is_lost(self, tmp_path, dialect):
        """The server is locked each time, one command opens it, and each mail is there once.

        A mail that was being delivered at the moment of a kill may be there twice: SMTP and LMTP
        allow it, since the answer to its delivery was lost.
        """
        require_root()
        moments = random.Random(dialect)
        with disk_engine(f"reboots{dialect.replace('.', '')}") as engine:
            engine.load(IMAGES[dialect])
            stack = EngineStack(tmp_path, "reboots", engine)
            stack.green(image=IMAGES[dialect], dialect=dialect, accounts=ACCOUNTS, deadline=120)
            install_sieve(stack)
            number_of_mails(stack)  # Asks for the passwords once.
            stream = Stream(stack)
            for number in range(TIMES):
                time.sleep(moments.uniform(0.2, 3))
                engine.stop() if number % 2 else engine.cut_power()
                engine.start()
                assert wait_for(lambda: is_locked(stack))
                done = stack.mailcrypt("unlock")
                assert done.returncode == 0, done.stderr
                wait_for(lambda: reading(stack), 5)
            stream.stop()
            wait_for_queue(stack)
            found = faults(stream.accepted, read_load(stack))
            assert len(stream.accepted) > TIMES
            assert not found["missing"]
            assert not found["bent"]
            assert len(found["doubled"]) <= TIMES, found["doubled"]
            print(f"{len(stream.accepted)} accepted, {len(found['doubled'])} there twice")
