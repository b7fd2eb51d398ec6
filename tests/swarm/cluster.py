"""A Docker Swarm of three engines, each on a disk image and in namespaces of its own.

They are joined by a bridge in a network namespace that nothing else uses.  What they share is one
folder, which stands for storage that every node reaches.
"""

import imaplib
import json
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.stacks import MARK, Stack
from tests.thief.engine import DiskEngine, network_of, run
from tests.thief.mails import imap

NET = "10.77.0"
_START = """
set -eu
for mount in /var/lib/docker /run/docker; do umount -R -l $mount 2>/dev/null || :; done
hostname "$2"
ip link set lo up
until ip link set eth0 up 2>/dev/null; do sleep 0.05; done
ip addr add "$(cat "$1/address")/24" dev eth0
exec dockerd --data-root "$1/disk/docker" --exec-root "$1/run" --pidfile "$1/pid" \\
  --host "unix://$1/socket" --storage-driver=overlay2 --dns 172.17.0.1
"""


class SwarmNode(DiskEngine):
    """One machine of the Swarm; its plug into the network can be pulled."""

    script = _START

    def __init__(self, cluster, name, number):
        super().__init__(f"{cluster.name}-{name}")
        self.host_name, self.cluster, self.number = self.name, cluster, number
        self.address = f"{NET}.{10 + number}"
        (self.folder / "address").write_text(self.address)

    def started(self):
        """Connect the new namespace to the bridge."""
        end = time.monotonic() + 10
        while True:
            with suppress(ProcessLookupError):
                pid = self.pid()
                break
            assert time.monotonic() < end
            time.sleep(0.01)
        self._on_switch("ip", "link", "del", self._plug, check=False)
        peer = ("peer", "name", "eth0", "netns", str(pid))
        self._on_switch("ip", "link", "add", self._plug, "type", "veth", *peer)
        self.plug_in()

    @property
    def _plug(self):
        return f"node{self.number}"

    def plug_in(self):
        """Connect it to the bridge."""
        self._on_switch("ip", "link", "set", self._plug, "master", "bridge", "up")

    def pull_the_plug(self):
        """Cut it off from every other machine; it runs on."""
        self._on_switch("ip", "link", "set", self._plug, "down")

    def run_in_mounts(self, *argv):
        """Run a command that sees and changes this machine's mounts alone."""
        run("nsenter", "--mount", "-t", str(self.pid()), *argv)

    def _on_switch(self, *argv, check=True):
        self.cluster.on_switch(*argv, check=check)


class Cluster:
    """One manager and two workers."""

    def __init__(self, name):
        self.name = name
        self.folder = Path("/dev/shm") / f"{MARK}-{name}-store"
        shutil.rmtree(self.folder, ignore_errors=True)
        for store in ("mail", "state", "config"):
            (self.folder / store).mkdir(parents=True)
        argv = ["unshare", "--net", "sh", "-c", "echo ready; exec sleep infinity"]
        self.switch = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert self.switch.stdout.readline() == "ready\n"
        self.on_switch("ip", "link", "add", "bridge", "type", "bridge")
        self.on_switch("ip", "link", "set", "bridge", "up")
        self.on_switch("ip", "addr", "add", f"{NET}.1/24", "dev", "bridge")
        self.nodes = [SwarmNode(self, f"node{number}", number) for number in (1, 2, 3)]

    def on_switch(self, *argv, check=True):
        """Run a command in the bridge's namespace."""
        enter = ["nsenter", "--net", "-t", str(self.switch.pid)]
        return subprocess.run([*enter, *argv], check=check, capture_output=True, text=True)

    @property
    def manager(self):
        return self.nodes[0]

    @property
    def workers(self):
        return self.nodes[1:]

    def start(self, *images):
        """Start the engines, copy the images to each, and make them one Swarm."""
        for node in self.nodes:
            node.start()
            node.load(*images)
        self.manager.docker("swarm", "init", "--advertise-addr", self.manager.address)
        token = self.manager.docker("swarm", "join-token", "-q", "worker").strip()
        for node in self.workers:
            node.docker("swarm", "join", "--token", token, f"{self.manager.address}:2377")

    def node(self, host_name):
        return next(node for node in self.nodes if node.host_name == host_name)

    def close(self):
        for node in self.nodes:
            node.close()
        self.switch.kill()
        self.switch.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def swarm(name, *images):
    """Give a Swarm; nothing of it is left afterwards."""
    with ExitStack() as made:
        cluster = Cluster(name)
        made.callback(cluster.close)
        cluster.start(*images)
        yield cluster


class SwarmStack(Stack):
    """A stack whose server is a service of a cluster."""

    def __init__(self, folder: Path, name: str, cluster: Cluster) -> None:
        super().__init__(folder, name)
        self.cluster = cluster
        stores = {store: f"{cluster.folder}/{store}" for store in ("mail", "state", "config")}
        self.base = {
            **self.base,
            "target": "swarm",
            "dockerHost": cluster.manager.url,
            "nodes": {node.host_name: node.url for node in cluster.workers},
            "placement": ["node.role==worker"],
            "binds": stores,
            "ports": {"smtp": 25, "submission": 587, "imap": 143},
        }

    def docker(self, *argv):
        return self.cluster.manager.docker(*argv)

    def task(self):
        """Return the node and the container of the task that is meant to run now, or None."""
        argv = ["service", "ps", "--no-trunc", "--filter", "desired-state=running", "-q"]
        for task in self.docker(*argv, self.container).split():
            found = json.loads(self.docker("inspect", task))[0]
            container = (found["Status"].get("ContainerStatus") or {}).get("ContainerID")
            names = {
                each["ID"]: each["Description"]["Hostname"]
                for each in json.loads(
                    self.docker("node", "inspect", *self.docker("node", "ls", "-q").split())
                )
            }
            if container:
                return self.cluster.node(names[found["NodeID"]]), container
        return None

    @contextmanager
    def near(self):
        """Let this thread open connections to the server; give the node that answers."""
        with network_of(self.cluster.switch.pid):
            yield self._answering()

    def _answering(self):
        """Return the address of the worker that answers; a busy one gets its time."""
        for seconds in (0.5, 1, 2, 4, 8):
            for node in self.cluster.workers:
                if _answers(node.address, seconds):
                    return node.address
        raise ConnectionError("no node answers")

    def is_readable(self):
        """Tell whether a client sees its mail."""
        try:
            with imap(self, timeout=5) as client:
                client.select("INBOX", readonly=True)
                return client.fetch("1", "(BODY.PEEK[])")[1][0] is not None
        except (OSError, imaplib.IMAP4.error):
            return False

    def wait_until_readable(self, seconds=180):
        """Return once a client sees its mail."""
        end = time.monotonic() + seconds
        while not self.is_readable():
            assert time.monotonic() < end, self.docker("service", "ps", self.container)
            time.sleep(0.2)

    def fail_over(self) -> float:
        """Cut the power of the task's node, and start it again once mail is readable elsewhere.

        Returns:
            The seconds from the cut until a client saw its mail.

        """
        node, _ = self.task()
        node.cut_power()
        start = time.monotonic()
        self.wait_until_readable()
        took = time.monotonic() - start
        moved, _ = self.task()
        assert moved is not node
        node.start()
        return took

    def run(self, script, *, stdin=""):
        """Run a shell script in the server; it must succeed."""
        node, container = self.task()
        argv = ["docker", "-H", node.url, "exec", "-i", container, "sh", "-euc", script]
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def destroy(self) -> None:
        """Destroy the stack, with what its tasks left on the nodes."""
        self.pulumi("state", "unprotect", "--all", "--yes", "--stack", self.name, check=True)
        self.pulumi("destroy", "--yes", "--skip-preview", "--stack", self.name, check=True)


def _answers(address, seconds):
    with suppress(OSError), socket.create_connection((address, 143), seconds) as connection:
        return connection.recv(4) == b"* OK"
    return False
