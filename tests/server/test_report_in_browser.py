"""A real browser draws the audit's page, wide and narrow, light and dark."""

import re

import pytest

from mailcrypt_component.store.audit import Audit
from mailcrypt_component.store.maildir import Mailbox
from mailcrypt_component.store.report import report
from mailcrypt_component.store.tally import Tally
from tests.browser import screenshot

pytestmark = pytest.mark.server

KEYS = tuple(digit * 64 for digit in "1ab")


def tally():
    tally = Tally()
    for number, user in enumerate(("ann", "bob", "carol", "<i>eve</i>")):
        for folder in ("INBOX", "Sent", "Archive.2019"):
            counts = {KEYS[0]: 900 + 300 * number, KEYS[1]: 500, "clear": 12 * number}
            tally.add(Mailbox(f"example.test/{user}", folder), counts)
    tally.add(Mailbox("example.test/bob", "INBOX"), {KEYS[2]: 7, "damaged": 2, "mbox": 1})
    for year in range(2015, 2027):
        tally.add_year(year, {KEYS[1]: 40 * (2027 - year), KEYS[0]: 90 * (year - 2014), "clear": 9})
    long = "customer-with-a-very-long-name.example.test/department-of-redundancy-01"
    tally.add(Mailbox(long, "Archive.2019.Projects.Finished"), {KEYS[0]: 1234})
    tally.add_example("clear", "example.test/bob/cur/17000.M1P1.mail,S=20:2,S")
    return tally


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(report(Audit("/var/mail", tally(), KEYS[:2]), 1_800_000_000))
    return path


def colour(page, name, *, dark):
    """Return a colour of the page's style as red, green and blue."""
    found = re.findall(rf"--{name}:#([0-9a-f]{{3,6}})", page.read_text())[1 if dark else 0]
    full = found if len(found) == 6 else "".join(digit * 2 for digit in found)
    return tuple(bytes.fromhex(full))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(
    "size", [(1000, 3000), (500, 3000), (390, 3000)], ids=["wide", "narrow", "phone"]
)
def test_the_page_is_drawn(page, dark, size):
    """It has its own colours and charts, and fits the width of the window."""
    rows = screenshot(page, page.with_name(f"{dark}-{size[0]}.png"), dark=dark, size=size)
    seen = {pixel for row in rows for pixel in row}
    for name in ("bg", "card", "current", "retired", "clear"):
        assert colour(page, name, dark=dark) in seen, name
    background = colour(page, "bg", dark=dark)
    assert rows[5][5] == background
    assert all(row[-2] == background for row in rows), "the page is wider than the window"
