"""Time an up of a fleet in which nothing changes, against a bare program with the same resources.

The fleet is the example's program with a table of many servers, all on this machine.

Run: make bench (or python -m benchmarks.fleet [SERVERS [RUNS]])
"""

import sys
import tempfile
from pathlib import Path

import yaml

from benchmarks.noop_up import IMAGE, bare, report, require_same_resources, seconds
from tests.stacks import ROOT, Stack

PARALLEL = ("--parallel", "4", "--yes", "--skip-preview", "--stack")


def table(servers: int) -> str:
    """Return the table of a fleet on this machine."""
    entries = [
        {
            "domain": f"d{number}.example.test",
            "dockerHost": "unix:///var/run/docker.sock",
            "accounts": ["user"],
        }
        for number in range(servers)
    ]
    return str(yaml.safe_dump(entries))


def main(servers: int, runs: int) -> None:
    """Deploy both, then update both in turn."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("fleet", "bare"):
            Path(folder, name).mkdir()
        ours = Stack(Path(folder, "fleet"), "bench-fleet", ROOT / "examples/fleet")
        plain = Stack(Path(folder, "bare"), "bench-bare")
        (plain.folder / "stacks/__main__.py").write_text(bare(servers, provider=True))
        path = Path(folder, "table.yaml")
        path.write_text(table(servers))
        try:
            ours.configure(image=IMAGE, table=str(path), protect="false", keepMail="false")
            ours.pulumi("up", *PARALLEL, ours.name, check=True)
            plain.configure(image=IMAGE)
            plain.pulumi("up", *PARALLEL, plain.name, check=True)
            require_same_resources(ours, plain)
            report([(seconds(ours), seconds(plain)) for _ in range(runs)])
        finally:
            ours.destroy()
            plain.destroy()


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]]
    main(*(numbers + [20, 7][len(numbers) :]))
