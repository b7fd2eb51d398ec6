"""Real stacks for the tests that need an engine."""

import pytest

from tests.stacks import ROOT, Stack


@pytest.fixture(scope="module")
def make_stack(tmp_path_factory):
    """Make real stacks, each with a backend of its own; all are destroyed at the end."""
    made = []

    def make(name, project=ROOT, **config):
        stack = Stack(tmp_path_factory.mktemp(name), name, project)
        made.append(stack)
        stack.configure(**config)
        return stack

    yield make
    for stack in made:
        stack.destroy()
