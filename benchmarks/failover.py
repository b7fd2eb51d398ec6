"""How long mail is unreadable when a Swarm loses the node that runs the server.

Three engines on disk images of their own, in network namespaces: a manager and two workers.  The
power of the server's node is cut under delivery, again and again; the time ends when a client
has fetched a mail.  Everything runs on this one machine, so a busy one adds to it.

Run: make bench (or python -m benchmarks.failover [RUNS])
"""

import sys
import tempfile
from pathlib import Path

from benchmarks.measure import span
from tests.swarm.cluster import SwarmStack, swarm
from tests.thief.load import Stream
from tests.thief.mails import ACCOUNTS

SETTINGS = {"image": "mailcrypt-dms-dev:13", "dialect": "2.4", "accounts": ACCOUNTS}
MAILS = 5


def main(runs: int) -> None:
    """Print each time, then the median, the least and the most, in seconds."""
    with (
        tempfile.TemporaryDirectory() as folder,
        swarm("failover", str(SETTINGS["image"])) as cluster,
    ):
        stack = SwarmStack(Path(folder), "bench-failover", cluster)
        times = []
        try:
            stack.green(**SETTINGS)
            stream = Stream(stack)
            for _ in range(runs):
                stream.wait_for(MAILS)
                times.append(stack.fail_over())
                print(f"{times[-1]:.1f} s", flush=True)
            stream.stop()
        finally:
            stack.destroy()
    print(f"readable again after {span(times, '.1f')} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
