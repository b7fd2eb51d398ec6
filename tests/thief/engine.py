"""A Docker engine of its own whose whole data lies in one disk image; needs root.

Engine, containers and their network live in namespaces of their own, so that one SIGKILL is a
power cut: every process is gone at once, and the image stays as it was at that moment.  The file
system is mounted with ``sync``: whatever was ever written to a file has reached the image, also
if the file was deleted at once.  The image lies in memory, which makes that fast enough.
"""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.stacks import MARK, Stack

GIB = 1 << 30
SIZE = 3 * GIB
_SECONDS = 60
_LIBC = ctypes.CDLL(None, use_errno=True)

# Other engines' mounts are not held here.  The engine is process 1 of its namespace.
_START = """
set -eu
for mount in /var/lib/docker /run/docker; do umount -R -l $mount 2>/dev/null || :; done
ip link set lo up
exec dockerd --data-root "$1/disk/docker" --exec-root "$1/run" --pidfile "$1/pid" \
  --host "unix://$1/socket" --iptables=false --storage-driver=overlay2 --dns 172.17.0.1
"""


def require_root():
    """Fail with one sentence where such an engine cannot run."""
    missing = [name for name in ("dockerd", "mkfs.ext4", "unshare") if not shutil.which(name)]
    assert os.geteuid() == 0, "the thief's test mounts a disk image and needs root"
    assert not missing, f"the thief's test needs {', '.join(missing)}"


class DiskEngine:
    """An engine that can be started, stopped and cut off, again and again, on one disk."""

    script = _START

    def __init__(self, name):
        require_root()
        self.name = name
        self.folder = Path("/dev/shm") / f"{MARK}-{name}"
        self.image = self.folder / "image"
        self.disk = self.folder / "disk"
        self._process = None
        _remove(self.folder)
        self.disk.mkdir(parents=True)
        with self.image.open("wb") as file:
            file.truncate(SIZE)
        run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0", str(self.image))
        run("mount", "-o", "loop,sync", str(self.image), str(self.disk))

    @property
    def url(self):
        return f"unix://{self.folder}/socket"

    def start(self):
        """Start the engine; return once it answers.  As after a boot, its run folder is empty."""
        shutil.rmtree(self.folder / "run", ignore_errors=True)
        (self.folder / "pid").unlink(missing_ok=True)
        argv = ["unshare", "--net", "--uts", "--mount", "--pid", "--fork", "--kill-child=SIGKILL"]
        argv += ["--mount-proc", "sh", "-c", self.script, "sh", str(self.folder), self.name]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log)
        self.started()
        end = time.monotonic() + _SECONDS
        while subprocess.run(
            ["docker", "-H", self.url, "version"], capture_output=True, check=False
        ).returncode:
            assert self._process.poll() is None, self._last_words()
            assert time.monotonic() < end, self._last_words()
            time.sleep(0.1)
        with self.network():
            threading.Thread(target=_know_no_name, args=(_listening(),), daemon=True).start()

    def started(self):
        """Do what has to be done while the engine starts."""

    def _last_words(self):
        return (self.folder / "log").read_text()[-2000:]

    def stop(self):
        """Stop the engine as a host does that is shut down."""
        os.kill(self.pid(), signal.SIGTERM)
        self._process.wait(120)

    def cut_power(self):
        """Kill the engine and every process of its containers at once."""
        self._process.kill()
        self._process.wait()

    def pid(self):
        """Return the process id of the engine; raise ProcessLookupError if it does not run."""
        unshared = self._process.pid
        with suppress(FileNotFoundError, IndexError):
            return int(Path(f"/proc/{unshared}/task/{unshared}/children").read_text().split()[0])
        raise ProcessLookupError

    def close(self):
        """Remove everything."""
        if self._process and self._process.poll() is None:
            self.cut_power()
        _remove(self.folder)

    def docker(self, *argv):
        """Run a docker command on this engine; it must succeed."""
        return run("docker", "-H", self.url, *argv)

    def load(self, *images):
        """Copy images from the engine in use; nothing of them is secret, so without ``sync``."""
        run("mount", "-o", "remount,async", str(self.disk))
        save = subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE)
        load = ["docker", "-H", self.url, "load", "-q"]
        done = subprocess.run(load, stdin=save.stdout, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr + self._last_words()
        assert save.wait() == 0
        run("mount", "-o", "remount,sync", str(self.disk))

    def network(self):
        """Let this thread open connections in the containers' network."""
        return network_of(self.pid())


class EngineStack(Stack):
    """A stack on such an engine."""

    def __init__(self, folder, name, engine):
        super().__init__(folder, name)
        self.engine = engine
        self.base = {**self.base, "dockerHost": engine.url}
        self.environment["DOCKER_HOST"] = engine.url

    def docker(self, *argv):
        return self.engine.docker(*argv)

    @contextmanager
    def near(self):
        """Let this thread open connections to the server; give its address."""
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        address = self.docker("inspect", "-f", form, self.container).strip()
        with self.engine.network():
            yield address

    def run(self, script, *, stdin=""):
        argv = ["docker", "-H", self.engine.url, "exec", "-i", self.container, "sh", "-euc", script]
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@contextmanager
def network_of(pid):
    """Let this thread open connections in the network of a process."""
    there = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _enter(there)
        yield
    finally:
        _enter(here)
        os.close(here)
        os.close(there)


@contextmanager
def disk_engine(name):
    """Give an engine that runs; nothing of it is left afterwards."""
    engine = DiskEngine(name)
    try:
        engine.start()
        yield engine
    finally:
        engine.close()


def _listening():
    """Return a socket at the address that containers are told to ask for names."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("172.17.0.1", 53))
    server.settimeout(600)
    return server


def _know_no_name(server):
    """Answer every question for a name with NXDOMAIN; an unanswered one holds up a connection."""
    with server, suppress(TimeoutError):
        while True:
            asked, client = server.recvfrom(512)
            end = asked.index(b"\0", 12) + 5  # The name ends with an empty label; type and class.
            server.sendto(asked[:2] + b"\x81\x83\0\1" + bytes(6) + asked[12:end], client)


def _enter(namespace):
    if _LIBC.setns(namespace, 0):
        raise OSError(ctypes.get_errno(), "setns")


def run(*argv):
    """Run a command, which must succeed; return what it printed."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stdout}{done.stderr}"
    return done.stdout


def _remove(folder):
    """Unmount and remove what an engine, this one or one of before, has left."""
    for _ in range(50):
        if not os.path.ismount(folder / "disk"):
            break
        subprocess.run(["umount", str(folder / "disk")], capture_output=True, check=False)
        time.sleep(0.1)
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)
