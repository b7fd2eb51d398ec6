"""Commands in a container, and sessions with them, through the Docker API."""

import io

import pytest

from mailcrypt_component.docker_api.connect import connect
from mailcrypt_component.docker_api.run import execute, session
from mailcrypt_component.docker_api.throwaway import throwaway
from mailcrypt_component.model.docker_host import DockerHost
from mailcrypt_component.model.errors import UnreachableError

pytestmark = pytest.mark.server

LOUD = "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2; exit 3"


@pytest.fixture(scope="module")
def container():
    with throwaway(connect(DockerHost()), "mailcrypt-dms-dev:13", purpose="run") as container:
        yield container


def test_output_errors_and_exit_code_are_separate(container):
    """Docker sends all of them over one connection."""
    done = execute(container, ["sh", "-c", LOUD], timeout=20)
    assert (done.exit_code, len(done.stdout), len(done.stderr)) == (3, 300000, 300000)


def test_standard_input_comes_back_whole(container):
    """The input may be longer than the buffer of a pipe."""
    data = bytes(range(256)) * 4096
    assert execute(container, ["cat"], stdin=data, timeout=20).stdout == data


def test_the_time_of_a_command_is_bounded(container):
    """The message names the command and the limit."""
    with pytest.raises(UnreachableError, match="sleep did not end within 1 s"):
        execute(container, ["sleep", "30"], timeout=1)


def test_a_session_answers_line_by_line(container):
    """Each answer is there before the next question is asked."""
    with session(container, ["cat"], name="cat", timeout=20) as talk:
        lines = io.BufferedReader(talk)
        for question in (b"one\n", b"two\n"):
            talk.send(question)
            assert lines.readline() == question


def test_the_time_of_a_session_is_bounded(container):
    """Reading ends, and the error names the session."""

    def wait_for_an_answer():
        with session(container, ["sleep", "30"], name="the answer", timeout=1) as talk:
            assert io.BufferedReader(talk).readline() == b""
            raise ConnectionError

    with pytest.raises(UnreachableError, match="the answer did not end within 1 s"):
        wait_for_an_answer()


def test_a_closed_port_ends_the_session_with_its_reason(container):
    """The session relays to a port of the container itself."""
    argv = ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/143; cat <&3 & cat >&3"]
    with session(container, argv, name="IMAP", timeout=10) as talk:
        assert io.BufferedReader(talk).readline() == b""
        assert b"refused" in talk.errors
