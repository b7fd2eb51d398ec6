"""Commands through the agent in a container, as the proof runs them."""

import pytest

from mailcrypt_component.docker_api.agent import Agent
from mailcrypt_component.docker_api.connect import connect
from mailcrypt_component.docker_api.run import session
from mailcrypt_component.docker_api.shell import shell
from mailcrypt_component.docker_api.throwaway import throwaway
from mailcrypt_component.model.docker_host import DockerHost
from mailcrypt_component.model.errors import UnreachableError

pytestmark = pytest.mark.server

LOUD = "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2; exit 3"


@pytest.fixture(scope="module")
def container():
    with throwaway(connect(DockerHost()), "mailcrypt-dms-dev:13", purpose="shell") as container:
        yield container


@pytest.fixture
def inside(container):
    with shell(container, timeout=20) as inside:
        yield inside


def test_output_errors_and_exit_code_come_apart(inside):
    done = inside.run(["sh", "-c", LOUD])
    assert (done.exit_code, len(done.stdout), len(done.stderr)) == (3, 300000, 300000)


def test_what_a_command_reads_may_be_as_long_as_a_pipe_holds(inside):
    assert inside.run(["cat"], bytes(65536)).stdout == bytes(65536)


def test_a_command_that_does_not_read_is_no_fault(inside):
    assert inside.run(["true"], bytes(65536)).exit_code == 0


def test_a_missing_command_and_a_killed_one_have_a_shells_exit_codes(inside):
    missing = inside.run(["no-such-command"])
    assert missing.exit_code == 127
    assert b"no-such-command" in missing.stderr
    assert inside.run(["sh", "-c", "kill -9 $$"]).exit_code == 137


def test_commands_run_side_by_side(inside):
    """The first ends when the second has made the file that it waits for."""
    first = inside.begin(["sh", "-c", "until [ -e /tmp/made ]; do sleep 0.05; done; echo seen"])
    assert inside.run(["touch", "/tmp/made"]).exit_code == 0
    assert first().stdout == b"seen\n"


def test_a_closed_port_is_told(inside):
    with pytest.raises(UnreachableError, match="refused"):
        inside.dial(143).read(1)


def test_the_time_is_bounded(container):
    with (
        pytest.raises(UnreachableError, match="did not end within 1 s"),
        shell(container, timeout=1) as inside,
    ):
        inside.run(["sleep", "30"])


def test_a_container_without_perl_says_so(container):
    with session(container, ["no-perl"], name="it", timeout=5) as talk:
        agent = Agent(talk, "the container")
        with pytest.raises(UnreachableError, match="executable file not found"):
            agent.receive()
