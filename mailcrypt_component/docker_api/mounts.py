"""Tells a volume's name from a path of the Docker host, in one place."""

from __future__ import annotations

import docker.types


def as_mount(source: str, target: str, *, read_only: bool) -> docker.types.Mount:
    """Return the mount at target of a named volume, or of an absolute host path."""
    if source.startswith("/"):
        return docker.types.Mount(target, source, type="bind", read_only=read_only)
    return docker.types.Mount(target, source, type="volume", read_only=read_only)
