"""Provides real stacks for the tests that need an engine."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.stacks import ALL, ROOT, Stack, sweep

# What takes longest comes first, so that no worker is left alone with it at the end.
LONGEST = ("swarm", "dialects_and_keys", "sabotage", "rotations", "full_loss", "edits", "life")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave what takes long to make test-all; order the files by their duration."""
    left = [item for item in items if not ALL and item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]
    ranks = {f"test_{name}": rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))


@pytest.fixture(scope="session")
def clean_engine(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Remove what a killed run has left, once a run, in whichever worker comes first."""
    shared = tmp_path_factory.getbasetemp()
    if shared.name.startswith("popen-"):
        shared = shared.parent
    with (shared / "swept").open("a+") as mark:
        fcntl.flock(mark, fcntl.LOCK_EX)
        if not mark.seek(0, os.SEEK_END):
            sweep()
            mark.write("swept")


@pytest.fixture(scope="module")
def make_stack(
    tmp_path_factory: pytest.TempPathFactory, clean_engine: None
) -> Iterator[Callable[..., Stack]]:
    """Make real stacks, each with a backend of its own; destroy all at the end."""
    with ExitStack() as made:

        def make(name: str, project: Path = ROOT, **config: Any) -> Stack:
            stack = Stack(tmp_path_factory.mktemp(name), name, project)
            made.callback(stack.destroy)
            stack.configure(**config)
            return stack

        yield make
