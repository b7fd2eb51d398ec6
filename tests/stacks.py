"""A whole Pulumi project in a folder of its own, run by the real engine."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PASSPHRASE = "correct horse battery staple"
# Whether to do what takes long, too (make test-all).
ALL = os.environ.get("MAILCRYPT_TEST") == "all"
# In the name of every stack and so of every container, volume and network of the tests.
MARK = os.environ.get("MAILCRYPT_TEST_MARK", "mctest")

BASE = {
    "hostname": "mail.example.test",
    "accounts": [{"address": "user@example.test"}],
    "ports": {},
    "tls": {"mode": "dms"},
    "deadline": 60,
}
# What differs from the defaults that users have: no port of this machine is taken, DMS's own
# certificate saves a key in each stack, and a hanging test ends sooner.


class Stack:
    """One stack; ``up`` never raises, tests look at its exit code and output."""

    def __init__(self, folder: Path, name: str, project: Path = ROOT) -> None:
        self.folder, self.name = folder, f"{MARK}-{name}"
        self.config: dict[str, Any] = {}
        settings = re.sub(r"virtualenv: [\w./]+", f"virtualenv: {ROOT}/.venv", _read(project))
        (folder / "Pulumi.yaml").write_text(settings)
        self.project = re.findall("^name: (.*)", settings)[0]
        self.base = BASE if project is ROOT else {}
        program = "stacks" if project is ROOT else "."
        (folder / "stacks").mkdir()
        for file in (project / program).glob("*.py"):
            shutil.copy(file, folder / program)
        (folder / "backend").mkdir()
        self.environment = {
            **os.environ,
            "PULUMI_BACKEND_URL": f"file://{folder}/backend",
            "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
        }
        self.environment.pop("PULUMI_CONFIG_PASSPHRASE_FILE", None)
        self.pulumi("stack", "init", self.name, check=True)
        # What init wrote (the salt of the passphrase) goes in front of every configuration.
        self.head = self._file.read_text() if self._file.exists() else ""

    @property
    def _file(self) -> Path:
        folder = self.folder / "stacks" if self.project == "mailcrypt" else self.folder
        return folder / f"Pulumi.{self.name}.yaml"

    def pulumi(self, *argv: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["pulumi", *argv],
            cwd=self.folder,
            env=self.environment,
            text=True,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert not check or done.returncode == 0, done.stdout
        return done

    def configure(self, **changes: Any) -> None:
        """Change settings (None removes one) and write the stack's file."""
        self.config = {**self.base, **self.config, **changes}
        chosen = {f"{self.project}:{k}": v for k, v in self.config.items() if v is not None}
        self._file.write_text(f"{self.head}\nconfig: {json.dumps(chosen, indent=2)}\n")

    def up(self, **changes: Any) -> subprocess.CompletedProcess[str]:
        self.configure(**changes)
        return self.pulumi("up", "--yes", "--skip-preview", "--stack", self.name)

    def green(self, **changes: Any) -> str:
        """Run up, which must succeed; return what it printed."""
        done = self.up(**changes)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def red(self, **changes: Any) -> str:
        """Run up, which must fail; return what it printed."""
        done = self.up(**changes)
        assert done.returncode != 0, done.stdout
        assert "Traceback" not in done.stdout, done.stdout
        return done.stdout

    def verify(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run mailcrypt verify on this stack."""
        return self.mailcrypt("verify", *argv)

    def mailcrypt(self, command: str, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a command of mailcrypt on this stack."""
        return subprocess.run(
            ["mailcrypt", command, "--stack", self.name, *argv],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def preview(self) -> str:
        return self.pulumi("preview", "--diff", "--stack", self.name).stdout

    def outputs(self) -> Any:
        done = self.pulumi("stack", "output", "--json", "--show-secrets", "--stack", self.name)
        return json.loads(done.stdout)

    def state(self) -> str:
        return self.pulumi("stack", "export", "--stack", self.name, check=True).stdout

    def secrets(self) -> Any:
        exported = self.pulumi("stack", "export", "--show-secrets", "--stack", self.name)
        return json.loads(exported.stdout)["deployment"]["resources"]

    def destroy(self) -> None:
        """Destroy the stack for good, as its owner would, with the volumes that it keeps."""
        self.pulumi("state", "unprotect", "--all", "--yes", "--stack", self.name, check=True)
        self.pulumi("destroy", "--yes", "--skip-preview", "--stack", self.name, check=True)
        names = self.docker("volume", "ls", "-q", "--filter", f"name={self.name}-").split()
        for name in names:
            self.docker("volume", "rm", name)

    @property
    def container(self) -> str:
        return f"mailcrypt-{self.name}"

    def docker(self, *argv: str) -> str:
        return subprocess.run(["docker", *argv], capture_output=True, text=True, check=True).stdout

    def container_id(self) -> str:
        return self.docker("inspect", "-f", "{{.Id}}", self.container).strip()

    def run(self, script: str, *, stdin: str = "") -> str:
        """Run a shell script in the server; it must succeed."""
        argv = ["docker", "exec", "-i", self.container, "sh", "-euc", script]
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def save(self, body: str, user: str = "user@example.test") -> None:
        """Store a mail as Dovecot does; return nothing."""
        mail = f"Subject: test\n\n{body}\n"
        self.run(f"doveadm save -u {user} -m INBOX", stdin=mail)

    def read_all(self, user: str = "user@example.test") -> str:
        """Return the whole inbox, as the server's IMAP process hands it out."""
        asked = "a SELECT INBOX\r\nb FETCH 1:* BODY.PEEK[]\r\nc LOGOUT\r\n"
        return self.run(f"/usr/lib/dovecot/imap -u {user}", stdin=asked)


def sweep() -> None:
    """Remove what a killed test run has left on the Docker engine."""
    _remove("container", "ps", "-aq", "--filter", f"name={MARK}-")
    volumes = _listed("volume", "ls", "-q", "--filter", f"name={MARK}-")
    for name in volumes:
        # A killed run's throw-away containers have names of their own, and hold its volumes.
        _remove("container", "ps", "-aq", "--filter", f"volume={name}")
    _remove("volume", "volume", "ls", "-q", "--filter", f"name={MARK}-")
    _remove("network", "network", "ls", "-q", "--filter", f"name={MARK}-")


def _listed(*argv: str) -> list[str]:
    done = subprocess.run(["docker", *argv], capture_output=True, text=True, check=True)
    return done.stdout.split()


def _remove(kind: str, *listing: str) -> None:
    """Remove what is listed; another may have removed it meanwhile."""
    force = ["-f"] if kind != "network" else []
    for name in _listed(*listing):
        argv = ["docker", kind, "rm", *force, name]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        known = ("No such", "already in progress", "not found")
        assert not done.returncode or any(word in done.stderr for word in known), done.stderr


def _read(project: Path) -> str:
    return (project / "Pulumi.yaml").read_text()


def changed(printed: str) -> set[str]:
    """Return the resources that an up changed, as {type's last word name: operation}."""
    lines = re.findall(r"^ *(\+|~|-|\+-|\+\+|--) +(\S+) (\S+) (\w+) \(", printed, re.MULTILINE)
    return {name for _, _, name, done in lines if done in {"created", "updated", "replaced"}}
