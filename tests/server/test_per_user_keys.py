"""The experiments behind the page on per-user keys."""

import subprocess

import pytest

from tests.stacks import ROOT

pytestmark = [pytest.mark.server, pytest.mark.long]


@pytest.mark.parametrize("tag", ["12", "13"])
def test_the_experiments_confirm_the_page(tag):
    """Each finding is a line; one that differs is named and makes the exit code 1."""
    argv = [ROOT / "docs/per-user-keys.sh", tag]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
