"""The audit's page, which shows the counts with whole names and the next steps."""

import re
from html import unescape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailcrypt_component.store.audit import MEANINGS, Audit, State
from mailcrypt_component.store.maildir import Mailbox
from mailcrypt_component.store.report import report
from mailcrypt_component.store.tally import NOT_ENCRYPTED, Tally

CURRENT, RETIRED, UNKNOWN = (digit * 64 for digit in "1ab")
ANN = Mailbox("example.test/ann", "INBOX")


def page(counts, key_ids=(CURRENT, RETIRED), place=ANN, host="", examples=()):
    """Return the page of one folder with these counts."""
    tally = Tally()
    tally.add(place, counts)
    for state, path in examples:
        tally.add_example(state, path)
    return report(Audit("/srv/mail", tally, key_ids), 1_800_000_000, host)


def text_of(html):
    """Return the text that a reader sees, in one line."""
    body = html.rpartition("<body")[2].partition(">")[2]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_a_store_in_good_order_has_a_green_verdict():
    """The verdict names the store, the time and the machine."""
    html = page({CURRENT: 2}, host="mx1.example.test")
    seen = text_of(html)
    assert '<body class="good">' in html
    assert "All 2 mails are encrypted." in seen
    assert "Audit of /srv/mail" in seen
    assert "2027-01-15 08:00 UTC, on mx1.example.test" in seen
    assert "Nothing is wrong." in seen


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({CURRENT: 1}, "The only mail is encrypted."),
        ({CURRENT: 2, "clear": 1}, "1 of 3 mails needs attention."),
        ({CURRENT: 2, "clear": 1234}, "1,234 of 1,236 mails need attention."),
    ],
)
def test_singular_and_plural_agree(counts, words):
    """The verdict is a correct sentence for any number."""
    assert words in text_of(page(counts))


def test_an_unread_part_is_not_called_encrypted():
    """A directory that cannot be read is no mail, and keeps the page from being green."""
    html = page({CURRENT: 2, "unreadable_folder": 1})
    assert "Not everything could be looked at." in text_of(html)
    assert '<body class="bad">' in html
    assert "1 not looked at: directories that cannot be read" in text_of(html)


def test_an_empty_store_is_not_called_encrypted():
    """A store without mail has its own verdict."""
    assert "There is no mail here." in text_of(report(Audit("/x", Tally(), ()), 0))


@pytest.mark.parametrize("state", [*State][1:])
def test_each_state_has_a_next_step(state):
    """Every state but encrypted to the current key comes with advice."""
    raw = {State.RETIRED: RETIRED, State.UNKNOWN: UNKNOWN, State.ENCRYPTED: CURRENT}
    ids = () if state is State.ENCRYPTED else (CURRENT, RETIRED)
    html = page({raw.get(state, state.value): 3}, ids)
    advice = text_of(html.partition("What to do next")[2].partition("</section>")[0])
    assert len(advice) > len(f"3 mails {MEANINGS[state]}") + 30
    assert ('class="good"' in html) is (state.value not in NOT_ENCRYPTED and raw[state] != UNKNOWN)


def test_bad_states_come_first_in_the_next_steps():
    """The optional step is the last one."""
    seen = text_of(page({RETIRED: 5, "clear": 1}).partition("What to do next")[2])
    assert seen.index("Encrypt them in place") < seen.index("Optional")


def test_no_name_is_cut():
    """The page shows key ids and users in full, and does not shorten them."""
    place = Mailbox("example.test/a-very-long-name-that-differs-at-its-end-01", "Archive.2019")
    html = page({CURRENT: 1, RETIRED: 1}, place=place)
    assert {CURRENT, RETIRED, place.user, place.folder} <= set(text_of(html).split())
    assert "ellipsis" not in html
    assert "overflow-wrap:anywhere" in html


def test_hostile_names_are_escaped():
    """A folder's name cannot become markup, in text or in an attribute."""
    evil = "<script>alert(1)</script>\"'onload=x"
    place = Mailbox(evil, evil)
    html = page({"clear": 1}, place=place, host=evil, examples=[("clear", evil)])
    assert "<script" not in html
    assert html.count("onload=x") == html.count("&lt;script&gt;alert(1)&lt;/script&gt;")
    assert not re.search(r"<[^>]*onload=x", html)


def test_the_page_needs_nothing_from_outside():
    """It has no script and no address, and forbids the browser to load anything."""
    html = page({CURRENT: 1})
    assert "default-src 'none'" in html
    assert not re.search(r"<script|<link|<img|https?:|url\(", html)


@settings(deadline=None)
@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_no_name_becomes_markup(store, user, path):
    """Names of stores, users and files stay text, whatever they are."""
    found = Tally()
    found.add(Mailbox(user, path), {"clear": 1, "a" * 64: 2})
    found.add_year(2024, {"clear": 1})
    found.add_example("clear", path)
    page = report(Audit(store, found, ()), 0)
    tags = set(re.findall(r"<(/?[a-z0-9]+)", page))
    assert tags <= KNOWN_TAGS, tags - KNOWN_TAGS


TAGS = """
html head meta title style body main header h1 h2 div p section i ul li b br code small span
table thead tbody tr th td
"""
KNOWN_TAGS = {slash + tag for slash in ("", "/") for tag in TAGS.split()}
