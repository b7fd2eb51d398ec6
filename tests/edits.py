"""Each edit of a setting, and the resources that change with it."""

from typing import Any

from tests.stacks import MARK

SERVER = {"mailcrypt-server", "mailcrypt-proof"}
FOREIGN = f"{MARK}-edits-foreign"
CHECKED = {"mailcrypt-preflight", *SERVER}
RING = {"mailcrypt-ring-guard", "mailcrypt-unlock"}
EDITS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "hostname": ({"hostname": "post.example.test"}, CHECKED),
    "tls": ({"tls": {"mode": "self-signed"}}, {"mailcrypt-tls-key", "mailcrypt-tls", *CHECKED}),
    "environment": ({"environment": {"LOG_LEVEL": "debug"}}, CHECKED),
    "ports": ({"ports": {"imap": "127.0.0.1:21437"}}, CHECKED),
    "ports, on all addresses": ({"ports": {"imap": 21438, "25": [21425, 21426]}}, CHECKED),
    "mounts": ({"mounts": [{"source": "FOLDER", "target": "/srv/shared"}]}, CHECKED),
    "binds": (
        {"binds": {"logs": "FOLDER"}},
        {"mailcrypt-claim", "mailcrypt-volumes-guard", *CHECKED},
    ),
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
