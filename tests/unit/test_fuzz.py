"""A second of fuzzing in each run; ``python -m tests.fuzz.decrypt 600`` does more."""

from tests.fuzz.decrypt import fuzz


def test_a_second_of_spoiled_files_breaks_no_promise():
    assert fuzz(1) > 100
