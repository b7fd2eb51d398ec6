"""What one does with Dovecot's own tools: a loop mail by mail, and one process for a mailbox.

Both run in a container of the development image, with the folder of a benchmark mounted, and
take the time inside of it, so that the container's start is not measured.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = "mailcrypt-dms-dev:12"
USER = "5000"

_CONFIGURATION = """
ssl = no
log_path = /dev/stderr
mail_plugins = mail_crypt
maildir_copy_with_hardlinks = no
mail_location = maildir:/bench/{source}
plugin {{
  mail_crypt_global_private_key = </bench/key.pem
  mail_crypt_global_public_key = </bench/public.pem
  mail_crypt_save_version = {version}
}}
"""


def timed(folder: Path, script: str) -> float:
    """Return how long a shell script takes in a container that has the folder at ``/bench``."""
    argv = ["docker", "run", "--rm", "--user", f"{USER}:{USER}", "-e", "HOME=/tmp"]
    argv += ["-e", "USER=docker", "--entrypoint", "sh", "-v", f"{folder}:/bench", IMAGE, "-euc"]
    argv.append(f"s=$(date +%s%N); {script}; e=$(date +%s%N); echo $((e - s))")
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"doveadm failed: {done.stderr.strip()}")
    return int(done.stdout.split()[-1]) / 1e9


def own(folder: Path) -> None:
    """Give a folder to the container's user."""
    subprocess.run(["chown", "-R", f"{USER}:{USER}", folder], check=True)


def backup(folder: Path, maildir: str, *, encrypt: bool) -> float:
    """Return how long ``doveadm backup`` of a mailbox takes, in one process.

    Args:
        folder: Holds the Maildir and the files ``key.pem`` and ``public.pem``.
        maildir: The Maildir's path in it.
        encrypt: Whether the copy is encrypted; else it is in clear.

    Raises:
        SystemExit: It failed, or the copy is not what it should be.

    """
    version = 2 if encrypt else 0
    text = _CONFIGURATION.format(source=maildir, version=version)
    (folder / "bench.conf").write_text(text)
    copy = folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    own(folder)
    took = timed(folder, "doveadm -c /bench/bench.conf backup maildir:/bench/copy")
    for path in (copy / "cur").iterdir():
        if path.read_bytes().startswith(b"CRYPTED") != encrypt:
            raise SystemExit(f"{path.name} is {'in clear' if encrypt else 'encrypted'}")
    source = len(list((folder / maildir / "cur").iterdir()))
    if source != len(list((copy / "cur").iterdir())):
        raise SystemExit(f"the copy does not have the {source} mails")
    return took
