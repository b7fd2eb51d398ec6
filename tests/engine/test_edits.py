"""The table of two-step edits: one setting changes, exactly these resources follow."""

import subprocess

import pytest

from tests.stacks import MARK, changed

pytestmark = pytest.mark.engine

SERVER = {"mailcrypt-server", "mailcrypt-proof"}
FOREIGN = f"{MARK}-edits-foreign"
CHECKED = {"mailcrypt-preflight", *SERVER}


@pytest.fixture(scope="module")
def foreign(clean_engine):
    """A network that is there before the server, and after it."""
    subprocess.run(["docker", "network", "create", FOREIGN], check=True)
    yield
    subprocess.run(["docker", "network", "rm", FOREIGN], check=True)


@pytest.fixture(scope="module")
def stack(foreign, make_stack):
    """A server with one stored mail; the edits build on each other."""
    stack = make_stack("edits", image="mailcrypt-dms-dev:13", dialect="2.4")
    stack.green()
    stack.save("stored before every edit")
    return stack


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("host")
    folder.chmod(0o777)
    return str(folder)


RING = {"mailcrypt-ring-guard", "mailcrypt-unlock"}
EDITS = {
    "hostname": ({"hostname": "post.example.test"}, CHECKED),
    "tls": ({"tls": {"mode": "self-signed"}}, {"mailcrypt-tls-key", "mailcrypt-tls", *CHECKED}),
    "environment": ({"environment": {"LOG_LEVEL": "debug"}}, CHECKED),
    "ports": ({"ports": {"imap": "127.0.0.1:21437"}}, CHECKED),
    "ports, on all addresses": ({"ports": {"imap": 21438, "25": [21425, 21426]}}, CHECKED),
    "mounts": ({"mounts": [{"source": "FOLDER", "target": "/srv/shared"}]}, CHECKED),
    "binds": ({"binds": {"logs": "FOLDER"}}, CHECKED),
    "network": ({"network": FOREIGN}, CHECKED),
    "stopGrace": ({"stopGrace": 20}, SERVER),
    "probeAddress": ({"probeAddress": "prober@example.test"}, {"mailcrypt-accounts"}),
    "keys, a new one in front": (
        {"keys": [{"name": "k2"}, {"name": "k1"}]},
        {"mailcrypt-ring-k2", *RING, *CHECKED},
    ),
    "queue": (
        {"queue": "memory"},
        {"mailcrypt-memory-queue", "mailcrypt-keeper", "mailcrypt-unlock", *SERVER},
    ),
    "keyCustody and indexCache on disk": (
        {"keyCustody": "disk", "indexCache": "disk"},
        {"mailcrypt-keeper", *CHECKED},
    ),
    "keyCustody and indexCache in memory": (
        {"keyCustody": "memory", "indexCache": "memory"},
        {
            "mailcrypt-memory-keys",
            "mailcrypt-memory-cache",
            "mailcrypt-keeper",
            "mailcrypt-unlock",
            *CHECKED,
        },
    ),
    "deadline": ({"deadline": 61}, set()),
    "dialect": ({"dialect": None}, set()),
}
"""Each edit, and the resources that change; the documentation's table is made of this."""


@pytest.mark.parametrize(("edit", "follow"), EDITS.values(), ids=EDITS.keys())
def test_an_edit_changes_exactly_these(stack, folder, edit, follow):
    """Stored mail is still read over IMAP."""
    filled = eval(repr(edit).replace("FOLDER", folder))  # noqa: S307
    assert changed(stack.green(**filled)) == follow
    assert "stored before every edit" in stack.read_all()


def test_after_all_of_them_a_further_up_has_nothing_to_do(stack):
    """No setting is compared with itself and found changed."""
    assert changed(stack.green()) == set()
