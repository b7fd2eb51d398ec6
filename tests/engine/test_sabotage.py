"""Sabotage of a server: red, red again, and green once it is gone.

Four servers share the rows, two of each Dovecot, so that four workers can deploy them.
"""

import pytest

from tests import sabotage

pytestmark = pytest.mark.engine

IMAGES = {sabotage.V2_3: "mailcrypt-dms-dev:12", sabotage.V2_4: "mailcrypt-dms-dev:13"}
PARTS = (0, 1)


def on(dialect, part, *more, name=""):
    """Return a test's parameters: its server, what else it takes; one worker has each server."""
    group = pytest.mark.xdist_group(f"sabotage {dialect} {part}")
    return pytest.param((dialect, part), *more, marks=group, id=f"{dialect} {name or part}")


@pytest.fixture(scope="module")
def stack(make_stack, request):
    """A proven server with one stored mail."""
    dialect, part = request.param
    name = f"sabotage{dialect.replace('.', '')}-{part}"
    stack = make_stack(name, image=IMAGES[dialect], dialect=dialect)
    stack.green()
    stack.save("stored before all of it")
    return stack


@pytest.mark.parametrize(
    ("stack", "name"),
    [
        on(dialect, part, name, name=name)
        for dialect in IMAGES
        for part in PARTS
        for name in sabotage.rows_of(dialect)[part :: len(PARTS)]
    ],
    indirect=["stack"],
)
def test_sabotage_is_red_until_it_is_gone(stack, name):
    """The message names what is wrong, and one up mends it."""
    sabotage.red_red_green(stack, stack.config["dialect"], name)


@pytest.mark.parametrize("stack", [on(dialect, 0) for dialect in IMAGES], indirect=True)
def test_mail_under_a_foreign_key_is_refused(stack):
    """Before the server is touched."""
    sabotage.foreign_mail_is_refused(stack, stack.config["dialect"])


@pytest.mark.parametrize(
    ("stack", "change"),
    [
        on(dialect, 1, f"{change} {sabotage.PROBE}{password}", name=change)
        for dialect in IMAGES
        for change, password in (("del", ""), ("update", " wrong"))
    ],
    indirect=["stack"],
)
def test_a_lost_probe_account_comes_back(stack, change):
    """By the command that the message names."""
    sabotage.lost_account_is_found(stack, change)


@pytest.mark.parametrize("stack", [on(dialect, 0) for dialect in IMAGES], indirect=True)
def test_fifty_proofs_in_a_row_hold(stack):
    """And leave no mail, file or account behind."""
    sabotage.fifty_proofs(stack)


@pytest.mark.parametrize(
    "stack", [on(dialect, part) for dialect in IMAGES for part in PARTS], indirect=True
)
def test_after_all_that_nothing_is_lost(stack):
    """The mail that was stored before is read, and no probe mail lies anywhere."""
    assert "stored before all of it" in stack.read_all()
    folder = f"/var/mail/example.test/{sabotage.PROBE.partition('@')[0]}"
    assert stack.run(f"find {folder} -path '*/cur/*' -o -path '*/new/*'") == ""
