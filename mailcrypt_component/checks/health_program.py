"""The health check's program as text, to be run in a container."""

from __future__ import annotations

from importlib import resources

from mailcrypt_component import checks


def health_program() -> str:
    """Return the text of ``health.py``."""
    return resources.files(checks).joinpath("health.py").read_text(encoding="utf-8")
