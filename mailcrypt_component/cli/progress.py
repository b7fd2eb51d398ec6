"""How far a long command is."""

from __future__ import annotations

import sys
import time
from typing import Self

import click


class Progress:
    """Shows how many there are and the rate on a terminal, and nothing elsewhere."""

    def __init__(self, noun: str) -> None:
        self._noun = noun
        self.shown = sys.stderr.isatty()
        self._start = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.shown:
            click.echo("\r\x1b[K", err=True, nl=False)

    def show(self, number: int) -> None:
        """Show how far it is."""
        if self.shown:
            rate = number / max(time.monotonic() - self._start, 0.001)
            click.echo(f"\r{number} {self._noun}, {rate:,.0f}/s ", err=True, nl=False)
