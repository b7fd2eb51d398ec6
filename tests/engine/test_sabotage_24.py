"""Sabotage of a server with Dovecot 2.4: red, red again, and green once it is gone."""

import pytest

from tests import sabotage

pytestmark = pytest.mark.engine

DIALECT = "2.4"


@pytest.fixture(scope="module")
def stack(make_stack):
    """A proven server with one stored mail."""
    stack = make_stack("sabotage24", image="mailcrypt-dms-dev:13", dialect=DIALECT)
    stack.green()
    stack.save("stored before all of it")
    return stack


@pytest.mark.parametrize("name", sabotage.rows_of(DIALECT))
def test_sabotage_is_red_until_it_is_gone(stack, name):
    """The message names what is wrong, and one up mends it."""
    sabotage.red_red_green(stack, DIALECT, name)


def test_mail_under_a_foreign_key_is_refused(stack):
    """Before the server is touched."""
    sabotage.foreign_mail_is_refused(stack, DIALECT)


@pytest.mark.parametrize("change", [f"del {sabotage.PROBE}", f"update {sabotage.PROBE} wrong"])
def test_a_lost_probe_account_comes_back(stack, change):
    """By the command that the message names."""
    sabotage.lost_account_is_found(stack, change)


def test_fifty_proofs_in_a_row_hold(stack):
    """And leave no mail, file or account behind."""
    sabotage.fifty_proofs(stack)


def test_after_all_that_nothing_is_lost(stack):
    """The mail that was stored before is read, and no probe mail lies anywhere."""
    assert "stored before all of it" in stack.read_all()
    assert (
        stack.run(
            f"find /var/mail/example.test/{sabotage.PROBE.partition('@')[0]}"
            " -path '*/cur/*' -o -path '*/new/*'"
        )
        == ""
    )
