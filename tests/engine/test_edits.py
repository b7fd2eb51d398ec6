"""The table of two-step edits: one setting changes, exactly these resources follow."""

import subprocess

import pytest

from tests.edits import EDITS, FOREIGN
from tests.stacks import changed

pytestmark = [pytest.mark.engine, pytest.mark.long]


@pytest.fixture(scope="module")
def foreign(clean_engine):
    """A network that is there before the server, and after it."""
    subprocess.run(["docker", "network", "create", FOREIGN], check=True)
    yield
    subprocess.run(["docker", "network", "rm", FOREIGN], check=True)


@pytest.fixture(scope="module")
def stack(foreign, make_stack):
    """A server with one stored mail; the edits build on each other."""
    stack = make_stack("edits", image="mailcrypt-dms-dev:13", dialect="2.4")
    stack.green()
    stack.save("stored before every edit")
    return stack


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("host")
    folder.chmod(0o777)
    return str(folder)


@pytest.mark.parametrize(("edit", "follow"), EDITS.values(), ids=EDITS.keys())
def test_an_edit_changes_exactly_these(stack, folder, edit, follow):
    """Stored mail is still read over IMAP."""
    filled = eval(repr(edit).replace("FOLDER", folder))  # noqa: S307
    assert changed(stack.green(**filled)) == follow
    assert "stored before every edit" in stack.read_all()


def test_after_all_of_them_a_further_up_has_nothing_to_do(stack):
    """No setting is compared with itself and found changed."""
    assert changed(stack.green()) == set()
