"""Whoever takes the disk of the Docker host reads nothing.

A server lives on an engine whose whole data lies in one disk image.  Then the power is cut and
the raw image is searched, free blocks included, for every word of the mails and for the keys.
"""

import pytest

from tests.stacks import ALL
from tests.thief.engine import EngineStack, disk_engine, require_root
from tests.thief.mails import ACCOUNTS, CONTROL, look_as_clients, new_mark, send_all
from tests.thief.search import key_patterns, kinds, owners, search, shown, word_patterns

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

IMAGES = {"2.3": "mailcrypt-dms-dev:12", "2.4": "mailcrypt-dms-dev:13"}
ON_DISK = {"keyCustody": "disk", "indexCache": "disk"}
TWO_KEYS = [{"name": "k2"}, {"name": "k1"}]


@pytest.fixture(autouse=True)
def as_root():
    """These tests mount disk images; elsewhere they fail, with the reason."""
    require_root()


def keys_of(stack):
    """Return the private keys of the stack's ring in PEM, from its state."""
    return [
        resource["outputs"]["privateKeyPemPkcs8"]["plaintext"].replace("\\n", "\n").strip('"')
        for resource in stack.secrets()
        if resource["type"] == "tls:index/privateKey:PrivateKey" and "-ring-" in resource["urn"]
    ]


def steal(stack, mark):
    """Cut the power, search the image and return the hits.

    Message-IDs are in the logs, where the search has to find them.
    """
    keys, engine = keys_of(stack), stack.engine
    assert keys
    engine.cut_power()
    patterns = {**word_patterns(mark), CONTROL: f"<{CONTROL}.".encode()}
    for number, pem in enumerate(keys):
        patterns |= {f"{name} of {number}": word for name, word in key_patterns(pem).items()}
    hits = search(engine.image, patterns)
    assert any(hit.name == CONTROL for hit in hits)
    return [hit for hit in hits if hit.name != CONTROL]


def live(stack, mark):
    """Let mail come and be looked at."""
    send_all(stack, mark)
    look_as_clients(stack, mark)


def live_long(stack, mark, **settings):
    """Let mail come before and after a restart, a rotation, a lock and an upgrade."""
    stack.green(image=IMAGES["2.3"], dialect="2.3", accounts=ACCOUNTS, **settings)
    live(stack, mark)
    stack.docker("restart", stack.container)
    stack.green()
    live(stack, mark)
    stack.green(keys=TWO_KEYS)
    live(stack, mark)
    if stack.config.get("keyCustody") != "disk":
        for command in ("lock", "unlock"):
            assert stack.mailcrypt(command).returncode == 0
    stack.green(image=IMAGES["2.4"], dialect="2.4")
    live(stack, mark)


def test_a_thief_of_the_disk_finds_no_word_and_no_key(tmp_path):
    """With the queue in memory nothing at all is found; on disk, the same search finds each."""
    with disk_engine("thief") as engine:
        engine.load(IMAGES["2.4"])
        stack, mark = EngineStack(tmp_path, "thief", engine), new_mark()
        stack.green(image=IMAGES["2.4"], dialect="2.4", accounts=ACCOUNTS, queue="memory")
        live(stack, mark)
        hits = steal(stack, mark)
        assert not hits, shown(engine.image, hits)

        engine.start()
        stack.green(**ON_DISK)
        look_as_clients(stack, mark)
        found = kinds(steal(stack, mark))
        assert {"subject", "text", "key, PEM line 2 of 0"} <= set(found), found


class TestWholeLife:
    """A server's whole life: restarts, rotation, lock and an upgrade of Dovecot."""

    __test__ = ALL

    @pytest.fixture
    @staticmethod
    def stack(tmp_path):
        """A stack on an engine of its own."""
        with disk_engine("life") as engine:
            engine.load(*IMAGES.values())
            yield EngineStack(tmp_path, "life", engine)

    def test_with_the_queue_in_memory_nothing_is_found(self, stack):
        """No word of any mail, and no key."""
        mark = new_mark()
        live_long(stack, mark, queue="memory")
        hits = steal(stack, mark)
        assert not hits, shown(stack.engine.image, hits)

    def test_by_default_only_what_passed_the_queue_is_found(self, stack):
        """And that in the queue or in free blocks: no key, and no draft, which never passed it."""
        mark = new_mark()
        live_long(stack, mark)
        hits = steal(stack, mark)
        found = kinds(hits)
        assert found["text"], "the search finds what lay in the queue"
        assert not found["draft"]
        assert not [name for name in found if name.startswith("key")]
        files = {file for file in owners(stack.engine.image, hits).values() if file}
        assert all("spool-postfix" in file for file in files), files

    def test_on_disk_each_kind_is_found(self, stack):
        """The same search finds the keys, every subject and the draft."""
        mark = new_mark()
        live_long(stack, mark, **ON_DISK)
        found = kinds(steal(stack, mark))
        wanted = {"subject", "text", "large", "sender", "name", "draft", "mark in base64"}
        assert wanted <= set(found), found
        for key in range(len(TWO_KEYS)):
            assert found[f"key, PEM line 2 of {key}"], found
