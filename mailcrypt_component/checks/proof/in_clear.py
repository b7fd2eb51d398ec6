"""Searches every disk of the server for the words of the probe mails.

Mounts in memory are not searched.  A word that was written in clear to several places proves
that the search finds what is there.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

import tenacity

from mailcrypt_component.model import dms
from mailcrypt_component.model.custody import IndexCache
from mailcrypt_component.model.errors import UnreachableError, UnsafeError
from mailcrypt_component.model.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Executor, Future

    from mailcrypt_component.checks.proof.context import Context

_TRANSIENT_SECONDS: Final = 3.0
"""A filter's own copy exists as long as the filter works on the mail."""
_CONTROLS: Final = (dms.MAIL_DIR, dms.STATE_DIR, dms.LOG_DIR, "/var/tmp")  # noqa: S108
_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
_NO_FILES: Final = re.compile(r"proc|sysfs|cgroup2?|devpts|devtmpfs|mqueue|bpf|securityfs|nsfs")
_INDEX_CACHE: Final = "dovecot.index.cache"
_QUEUE: Final = re.compile(r"/spool[/-]postfix/(incoming|active|deferred|hold|maildrop|bounce)/")
_VIRUSES: Final = "lib-clamav"
"""ClamAV's signatures: hundreds of megabytes that each start of DMS touches."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount of the container: its folder, its kind, and whether it can be written."""

    path: str
    kind: str
    writable: bool

    @property
    def is_disk(self) -> bool:
        """Whether something can be written there that lies on a disk."""
        return self.writable and self.kind not in _MEMORY and not _NO_FILES.fullmatch(self.kind)


@dataclass(frozen=True, slots=True)
class Controls:
    """The container's mounts, and the files in which the control's word lies in clear."""

    mounts: tuple[Mount, ...]
    files: tuple[str, ...]

    @property
    def disks(self) -> list[str]:
        """The folders and files below which everything is searched."""
        return [mount.path for mount in self.mounts if mount.is_disk]

    def include(self, path: str) -> bool:
        """Whether a file is a control, seen perhaps through a second mount of its folder."""
        return PurePosixPath(path).name in {PurePosixPath(file).name for file in self.files}


@dataclass(frozen=True, slots=True)
class _Hits:
    """Files with a word in clear: those that must not be, and those that the settings allow."""

    refused: tuple[str, ...]
    cache: tuple[str, ...]
    queue: tuple[str, ...]


def mounts_of(printed: str) -> list[Mount]:
    """Return the mounts in the text of ``/proc/mounts``; of several at a path the last counts."""
    found = {}
    for line in printed.splitlines():
        _, path, kind, options, *_ = line.split()
        path = re.sub(r"\\(\d{3})", lambda octal: chr(int(octal.group(1), 8)), path)
        found[path] = Mount(path, kind, "rw" in options.split(","))
    return list(found.values())


@contextmanager
def controls_written(context: Context, pool: Executor) -> Iterator[Future[Controls]]:
    """Write the controls' files in the background; remove them afterwards."""
    written = pool.submit(_write_controls, context)
    try:
        yield written
    finally:
        pool.submit(lambda: context.run(["rm", "-f", *written.result().files]))


def _write_controls(context: Context) -> Controls:
    """Write the control's word to a file in each place that lies on a disk."""
    mounts = mounts_of(_checked(context, ["cat", "/proc/mounts"]).decode())
    name = f".mailcrypt-{context.probe.delivered.message_id.partition('@')[0]}"
    files = [f"{place}/{name}" for place in _CONTROLS if _mount_of(place, mounts).is_disk]
    _remove_old_controls(context, files)
    _checked(context, ["tee", *files], stdin=context.probe.control.encode())
    return Controls(tuple(mounts), tuple(files))


def _remove_old_controls(context: Context, files: Sequence[str]) -> None:
    """Remove what a killed proof has left; the mark of the volume has another name."""
    name = ".mailcrypt-[0-9a-f][0-9a-f]*"
    places = [file.rpartition("/")[0] for file in files]
    argv = ["find", *places, "-maxdepth", "1", "-type", "f", "-name", name, "-delete"]
    _checked(context, argv)


def search_clear(context: Context, controls: Controls) -> str:
    """Search every disk; return what was seen.

    Raises:
        UnsafeError: A word lies somewhere in clear.
        UnreachableError: The search failed, or did not find its own control.

    """
    hits = _search_until_clear(context, controls)
    if hits.refused:
        raise UnsafeError(
            "the content of a probe mail lies in clear",
            where=", ".join(hits.refused[:5]),
            expected="nothing in clear on a disk outside Postfix's queue",
            hint="look at what writes copies there: a sieve script, an archive, a full-text "
            "index, a log with subjects, mail_cache_path or INDEXCACHE in dovecot.cf",
        )
    return _seen(controls, hits)


def _seen(controls: Controls, hits: _Hits) -> str:
    memory = [mount.path for mount in controls.mounts if mount.kind in _MEMORY and mount.writable]
    ours = [path for path in memory if not path.startswith(("/dev", "/proc", "/sys"))]
    parts = [f"no word of the mails on any disk ({counted(len(controls.files), 'control')} found)"]
    if ours:
        parts.append(f"not searched, in memory: {', '.join(ours)}")
    if hits.cache:
        parts.append(f"in clear, since indexCache is disk: {', '.join(hits.cache)}")
    if hits.queue:
        parts.append(f"in clear, waiting in Postfix's queue: {', '.join(hits.queue)}")
    return "; ".join(parts)


def _mount_of(place: str, mounts: Sequence[Mount]) -> Mount:
    """Return the mount that a folder lies in."""
    folder = PurePosixPath(place)
    around = [mount for mount in mounts if folder.is_relative_to(mount.path)]
    return max(around, key=lambda mount: len(mount.path))


def _search_until_clear(context: Context, controls: Controls) -> _Hits:
    """Search again while there are hits, for a moment: a filter may still be at work."""
    again = tenacity.Retrying(
        stop=tenacity.stop_after_delay(_TRANSIENT_SECONDS),
        wait=tenacity.wait_fixed(0.5),
        retry=tenacity.retry_if_result(lambda hits: bool(hits.refused)),
        retry_error_callback=lambda state: state.outcome and state.outcome.result(),
    )
    hits: _Hits = again(_search, context, controls)
    return hits


def _search(context: Context, controls: Controls) -> _Hits:
    words = (*context.probe.words, context.probe.control)
    expressions = [argument for word in words for argument in ("-e", word)]
    argv = ["env", "LC_ALL=C", "xargs", "-0", "-r", "grep", "-laiF", *expressions, "--"]
    done = context.run(argv, stdin=_changed_files(context, controls.disks))
    _refuse_failure(done.stderr, "grep", context)
    found = done.stdout.decode(errors="replace").splitlines()
    if missing := set(controls.files) - set(found):
        raise UnreachableError(
            f"the search in clear did not find its own control in {', '.join(sorted(missing))}",
            where=context.where,
            expected="find, xargs and grep that work, and a clock that is right",
            hint="replace the server: docker rm -f "
            f"{context.container.name}, then pulumi up --refresh",
        )
    return _sorted(context, [path for path in found if not controls.include(path)])


def _changed_files(context: Context, disks: Sequence[str]) -> bytes:
    """Return the files that changed since the start, NUL between them.

    DMS gives all mail its owner again when an account is added, which renews each file's time
    of change, so in the mail volume the time of its content counts.
    """
    minutes = f"-{int(context.elapsed / 60) + 2}"
    mail = f"{dms.MAIL_DIR}/*"
    argv = ["env", "LC_ALL=C", "find", *disks, "-xdev", "-ignore_readdir_race"]
    argv += ["-name", _VIRUSES, "-prune", "-o", "-type", "f"]
    argv += ["(", "-path", mail, "-mmin", minutes, "-o"]
    argv += ["-not", "-path", mail, "-cmin", minutes, ")", "-print0"]
    done = context.run(argv)
    _refuse_failure(done.stderr, "find", context)
    if done.exit_code:
        raise _failed(f"exit code {done.exit_code}", "find", context)
    return done.stdout


def _sorted(context: Context, found: Sequence[str]) -> _Hits:
    cached = context.target.index_cache is IndexCache.DISK
    cache = [path for path in found if cached and path.endswith(f"/{_INDEX_CACHE}")]
    queue = [path for path in found if _QUEUE.search(path)]
    refused = [path for path in found if path not in cache and path not in queue]
    return _Hits(tuple(refused), tuple(cache), tuple(queue))


def _checked(context: Context, argv: Sequence[str], stdin: bytes = b"") -> bytes:
    done = context.run(argv, stdin)
    if done.exit_code:
        raise _failed(done.complaint, argv[0], context)
    return done.stdout


def _refuse_failure(stderr: bytes, command: str, context: Context) -> None:
    """Raise unless each complaint is about a file that has disappeared meanwhile."""
    lines = stderr.decode(errors="replace").splitlines()
    if faults := [line for line in lines if not line.endswith("No such file or directory")]:
        raise _failed(faults[0], command, context)


def _failed(said: str, command: str, context: Context) -> UnreachableError:
    return UnreachableError(
        f"the search in clear failed: {said}",
        where=f"{command} in {context.where}",
        expected="a search that reads every file",
    )
