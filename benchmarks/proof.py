"""Time the proof against what a person does by hand: one delivery and one IMAP fetch.

By hand: ``sendmail`` in the container, wait until the mail is there, log in, fetch it,
delete it. The mail goes through the same Postfix and the same Dovecot; the waiting looks
every 10 ms. Both run in turn, so that the ratio holds when the machine drifts.

Run: make bench (or python -m benchmarks.proof [RUNS])
"""

import imaplib
import json
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mailcrypt_component.checks.proof.run import verify
from mailcrypt_component.checks.proof.target import target_of
from tests.stacks import Stack

SETTINGS = {"image": "mailcrypt-dms-dev:13", "dialect": "2.4"}
_UNVERIFIED = ssl.create_default_context()
_UNVERIFIED.check_hostname = False
_UNVERIFIED.verify_mode = ssl.CERT_NONE


def proof(facts: Mapping[str, Any]) -> float:
    """Return how long one proof takes, in seconds."""
    start = time.perf_counter()
    verify(target_of(facts))
    return time.perf_counter() - start


def by_hand(facts: Mapping[str, Any], address: str) -> float:
    """Return how long a delivery and a fetch take, in seconds."""
    start = time.perf_counter()
    account = facts["account"]
    mail = f"From: {account}\nTo: {account}\nSubject: by hand\n\nby hand\n".encode()
    argv = ["docker", "exec", "-i", facts["container"], "sendmail", "-f", account, account]
    subprocess.run(argv, input=mail, check=True)
    client = imaplib.IMAP4(address)
    client.starttls(_UNVERIFIED)
    client.login(account, facts["password"])
    client.select()
    while not (numbers := client.search(None, "ALL")[1][0].split()):
        time.sleep(0.01)
        client.noop()
    (answer, *_) = client.fetch(numbers[0].decode(), "(BODY.PEEK[])")[1]
    took = time.perf_counter() - start
    if not isinstance(answer, tuple) or not answer[1].endswith(b"by hand\r\n"):
        raise SystemExit(f"another mail came back: {answer!r}")
    client.store("1:*", "+FLAGS.SILENT", r"(\Deleted)")
    client.expunge()
    client.logout()
    return took


def main(runs: int) -> None:
    """Print both medians and the median of the ratios."""
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), "bench-proof")
        try:
            stack.green(**SETTINGS)
            facts = json.loads(stack.outputs()["verifyTarget"])
            networks = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
            address = stack.docker("inspect", "-f", networks, facts["container"]).strip()
            proof(facts)
            by_hand(facts, address)
            pairs = [(proof(facts), by_hand(facts, address)) for _ in range(runs)]
        finally:
            stack.destroy()
    for name, values in zip(("proof", "by hand"), zip(*pairs, strict=True), strict=True):
        print(f"{name:<8} {statistics.median(values):.2f} s  {min(values):.2f}-{max(values):.2f}")
    ratios = [mine / theirs for mine, theirs in pairs]
    print(f"ratio    {statistics.median(ratios):.2f}    {min(ratios):.2f}-{max(ratios):.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
