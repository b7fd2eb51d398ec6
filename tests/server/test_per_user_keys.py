"""What the page on per-user keys says, as its experiments see it."""

import os
import subprocess

import pytest

from tests.stacks import ROOT

pytestmark = pytest.mark.server

IMAGES = ["12", "13"] if os.environ.get("MAILCRYPT_TEST") == "all" else ["13"]


@pytest.mark.parametrize("tag", IMAGES)
def test_the_experiments_find_what_the_page_says(tag):
    """Each finding is a line; one that differs is named and ends it with 1."""
    argv = [ROOT / "docs/per-user-keys.sh", tag]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
