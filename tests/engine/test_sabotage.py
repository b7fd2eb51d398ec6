"""Sabotage of a server: red, red again, and green once it is gone.

In ``make test-all`` four servers share the rows, two of each Dovecot, so that four workers
can deploy them; in ``make test`` one of each Dovecot has some.
"""

import pytest

from tests import sabotage
from tests.stacks import ALL

pytestmark = pytest.mark.engine

IMAGES = {sabotage.V2_3: "mailcrypt-dms-dev:12", sabotage.V2_4: "mailcrypt-dms-dev:13"}

CHANGES = [f"del {sabotage.PROBE}", f"update {sabotage.PROBE} wrong"]


def pytest_generate_tests(metafunc):
    """Give each server its share of the rows."""
    for fixture, rows in (("name", sabotage.ROWS), ("harmless", sabotage.HARMLESS_ROWS)):
        if fixture in metafunc.fixturenames:
            names = sabotage.rows_of(metafunc.cls.dialect, rows)
            metafunc.parametrize(fixture, names[metafunc.cls.part :: 2] if ALL else names)


class Rows:
    """A server's share of the rows; nothing is lost at the end."""

    @pytest.fixture(scope="class")
    @classmethod
    def stack(cls, make_stack):
        """A proven server with one stored mail."""
        name = f"sabotage{cls.dialect.replace('.', '')}-{cls.part}"
        stack = make_stack(name, image=IMAGES[cls.dialect], dialect=cls.dialect)
        stack.green()
        stack.save("stored before all of it")
        return stack

    def test_sabotage_is_red_until_it_is_gone(self, stack, name):
        """The message names what is wrong, and one up mends it."""
        sabotage.red_red_green(stack, self.dialect, name)

    @pytest.mark.long
    def test_a_harmless_peculiarity_is_green(self, stack, harmless):
        """The proof goes a way that works, and says so."""
        sabotage.green(stack, self.dialect, harmless)

    def test_the_mail_is_still_there(self, stack):
        """The mail that was stored before is read, and no probe mail lies anywhere."""
        assert "stored before all of it" in stack.read_all()
        folder = f"/var/mail/example.test/{sabotage.PROBE.partition('@')[0]}"
        assert stack.run(f"find {folder} -path '*/cur/*' -o -path '*/new/*'") == ""


class First(Rows):
    """Also what belongs to the mail."""

    part = 0

    def test_mail_under_a_foreign_key_is_refused(self, stack):
        """Preflight refuses it before the server is touched."""
        sabotage.foreign_mail_is_refused(stack, self.dialect)

    def test_stored_mail_of_a_key_that_the_ring_lacks_is_found(self, stack):
        """Verify names the key, the number of mails and their user."""
        sabotage.key_that_the_ring_lacks_is_found(stack)

    @pytest.mark.long
    def test_proofs_in_a_row_hold(self, stack):
        """They leave no mail, file or account behind."""
        sabotage.proofs_in_a_row(stack)


class Second(Rows):
    """Also what belongs to accounts and retired keys."""

    part = 1

    @pytest.mark.long
    @pytest.mark.parametrize("change", CHANGES)
    def test_a_lost_probe_account_comes_back(self, stack, change):
        """The command in the message brings it back."""
        sabotage.lost_account_is_found(stack, change)

    @pytest.mark.long
    def test_a_wrong_retired_key_is_found(self, stack):
        """A key file that the ring lacks is never proven."""
        sabotage.wrong_retired_key_is_found(stack)

    @pytest.mark.long
    def test_a_damaged_mail_is_found(self, stack):
        """The proof names the file and what to do."""
        sabotage.damaged_mail_is_found(stack)


class TestDovecot23First(First):
    """Half of the rows on Dovecot 2.3."""

    dialect = sabotage.V2_3


class TestDovecot23Second(Second):
    """The other half of the rows on Dovecot 2.3."""

    __test__ = ALL
    dialect = sabotage.V2_3


class TestDovecot24First(First):
    """Half of the rows on Dovecot 2.4."""

    __test__ = ALL
    dialect = sabotage.V2_4


class TestDovecot24Second(Second):
    """The other half of the rows on Dovecot 2.4."""

    dialect = sabotage.V2_4
