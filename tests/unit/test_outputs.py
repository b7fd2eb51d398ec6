"""Outputs of the graph: what is asked of engines."""

import threading

import pulumi
import pytest

from mailcrypt_component.component.outputs import answer
from mailcrypt_component.model.errors import UnreachableError
from mailcrypt_component.testing import use_mocks


def test_engines_are_asked_at_once():
    """A program with many servers does not wait for one engine after the other."""
    use_mocks()
    together = threading.Barrier(3, timeout=10)

    def ask(name):
        together.wait()
        return name.upper()

    @pulumi.runtime.test
    def program():
        answers = pulumi.Output.all(*(answer(ask, name) for name in ("one", "two", "three")))
        return answers.apply(found.extend)

    found = []
    program()
    assert found == ["ONE", "TWO", "THREE"]


def test_an_engine_that_does_not_answer_ends_the_program_with_its_message():
    """In a unit test as an exception of Pulumi's, which the language host shows as it is."""
    use_mocks()

    def ask(host):
        raise UnreachableError("nothing listens", where=f"Docker engine {host}", hint="start it")

    @pulumi.runtime.test
    def program():
        return answer(ask, "tcp://mail1")

    with pytest.raises(pulumi.RunError, match="Docker engine tcp://mail1: nothing listens"):
        program()
