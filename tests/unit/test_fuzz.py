"""Fuzzes the file format for a second; ``python -m tests.fuzz.decrypt 600`` runs longer."""

from tests.fuzz.decrypt import fuzz


def test_a_second_of_spoiled_files_breaks_no_promise():
    """Each input gives an error of ours or the original plaintext, in bounded time and memory."""
    assert fuzz(1, at_least=200) >= 200
