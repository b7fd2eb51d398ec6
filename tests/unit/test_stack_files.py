"""The stack files in the repository."""

from pathlib import Path

import pytest

STACKS = sorted((Path(__file__).parents[2] / "stacks").glob("Pulumi.*.yaml"))


def test_the_three_stacks_are_there():
    """One for each environment."""
    assert [path.name.split(".")[1] for path in STACKS] == ["dev", "prod", "staging"]


@pytest.mark.parametrize("path", STACKS, ids=lambda path: path.name)
def test_no_stack_file_brings_a_secret_in_clear(path):
    """No key, and no password but a made one."""
    text = path.read_text()
    assert "PRIVATE" not in text
    assert "password" not in text
