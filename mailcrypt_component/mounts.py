"""Tell a volume's name from a path of the Docker host, in one place."""

from __future__ import annotations

import docker.types


def as_mount(source: str, target: str, *, read_only: bool) -> docker.types.Mount:
    """Return the mount of a named volume, or of an absolute host path, at target."""
    kind = "bind" if source.startswith("/") else "volume"
    return docker.types.Mount(target, source, type=kind, read_only=read_only)
