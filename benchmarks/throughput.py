"""Delivery and reading without encryption, with it, and with the index cache in memory.

Three servers of one image differ in nothing else.  They take turns, so that the ratios hold when
the machine drifts.  Mails go in by LMTP over one connection and are read by one IMAP process.

Run: make bench (or python -m benchmarks.throughput [ROUNDS])
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from mailcrypt_component.dialects.compiler import render
from mailcrypt_component.dialects.dialect import CACHE_DIR, Dialect, DovecotFiles
from mailcrypt_component.model import dms
from mailcrypt_component.model.custody import Custody, IndexCache
from mailcrypt_component.model.key_ring import PUBLIC_KEY_PATH, model_of, private_path
from tests.stacks import MARK
from tests.store import Key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

IMAGES = {Dialect.V2_3: "mailcrypt-dms-dev:12", Dialect.V2_4: "mailcrypt-dms-dev:13"}
SIZES = {3_000: 300, 1_000_000: 20}
"""Mails of a round by their size in bytes."""
INSIDE = Path(__file__).with_name("throughput_inside.py")
ACCOUNT = "user@example.test|{PLAIN}secret\n"
MEMORY = {dms.DOVECOT_RUN_DIR: "mode=0755", CACHE_DIR: "mode=1777"}
PLAIN = "no mail_crypt"


def compiled(dialect: Dialect, cache: IndexCache) -> DovecotFiles:
    """Return the component's own configuration."""
    return render(model_of(["k1"], Custody.DISK, cache), dialect)


def variants(dialect: Dialect) -> Mapping[str, tuple[str, str]]:
    """Return the two configuration files of each server, by what it is."""
    disk, memory = (compiled(dialect, cache) for cache in (IndexCache.DISK, IndexCache.MEMORY))
    return {
        PLAIN: ("", disk.storage),
        "mail_crypt": (disk.crypt, disk.storage),
        "and the cache in memory": (memory.crypt, memory.storage),
    }


def docker(*argv: str, stdin: str = "") -> str:
    """Run a docker command; return what it prints."""
    done = subprocess.run(
        ["docker", *argv], input=stdin, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def files_of(folder: Path, texts: tuple[str, str], key: Key) -> Iterator[str]:
    """Write a server's files and yield the options that mount them."""
    files = {
        dms.CUSTOM_CONF: texts[0],
        dms.STORAGE_CONF: texts[1],
        PUBLIC_KEY_PATH: key.public_pem,
        private_path("k1"): key.pem,
        f"{dms.CONFIG_DIR}/{dms.ACCOUNTS_FILE}": ACCOUNT,
    }
    for number, (target, text) in enumerate(files.items()):
        source = folder / str(number)
        source.write_text(text)
        yield from ("-v", f"{source}:{target}:ro")


def started(image: str, folder: Path, texts: tuple[str, str]) -> str:
    """Start a server; return its id once it has said that it runs."""
    folder.mkdir()
    tmpfs = [word for path, mode in MEMORY.items() for word in ("--tmpfs", f"{path}:{mode}")]
    options = [*tmpfs, *files_of(folder, texts, Key())]
    server = docker("run", "-d", "--name", f"{MARK}-{folder.name}", *options, image)
    waiting = f"until doveadm service status lmtp >/dev/null 2>&1; do sleep 0.1; done; {_READY}"
    docker("exec", server, "timeout", "60", "sh", "-c", waiting)
    return server


_READY = "until [ -S /run/dovecot/lmtp ]; do sleep 0.1; done"


def measured(server: str, size: int) -> dict[str, float]:
    """Return the milliseconds a mail of each phase of one round."""
    mails = SIZES[size]
    argv = ("exec", "-i", server, "python3", "-I", "-", str(mails), str(size))
    seconds: dict[str, float] = json.loads(docker(*argv, stdin=INSIDE.read_text()))
    return {phase: 1000 * took / mails for phase, took in seconds.items()}


def show(dialect: Dialect, size: int, rounds: list[dict[str, dict[str, float]]]) -> None:
    """Print medians, and each server's ratio to the one without encryption, with its spread."""
    print(f"Dovecot {dialect.value}, mails of {size:,} bytes, milliseconds a mail:")
    for phase in rounds[0][PLAIN]:
        print(f"  {phase}")
        for name in rounds[0]:
            values = [each[name][phase] for each in rounds]
            ratios = sorted(each[name][phase] / each[PLAIN][phase] for each in rounds)
            print(
                f"    {name:<24} {statistics.median(values):8.3f}"
                f"   x {statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"
            )


def compare(dialect: Dialect, rounds: int) -> None:
    """Measure the three servers of a dialect in turn."""
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        servers = {}
        for number, (name, texts) in enumerate(variants(dialect).items()):
            folder = Path(temporary) / f"bench{dialect.value[-1]}{number}"
            stack.callback(docker, "rm", "-fv", f"{MARK}-{folder.name}")
            servers[name] = started(IMAGES[dialect], folder, texts)
        for size in SIZES:
            found = [
                {name: measured(server, size) for name, server in servers.items()}
                for _ in range(rounds + 1)
            ]
            show(dialect, size, found[1:])  # The first round warms up.


if __name__ == "__main__":
    for each in Dialect:
        compare(each, int(sys.argv[1]) if len(sys.argv) > 1 else 7)
