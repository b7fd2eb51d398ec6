"""A second of fuzzing in each run; ``python -m tests.fuzz.unseal 600`` does more."""

from tests.fuzz.unseal import fuzz


def test_a_second_of_spoiled_files_breaks_no_promise():
    assert fuzz(1) > 100
