"""The commands of hints, each run as it was printed, in the state that printed it."""

import re
import shlex
import subprocess

import pytest

from tests.stacks import MARK

pytestmark = [pytest.mark.engine, pytest.mark.long, pytest.mark.timeout(1200)]

IMAGE = "mailcrypt-dms-dev:13"
BODY = "stored before every fault"


@pytest.fixture(scope="module")
def stack(make_stack, tmp_path_factory):
    """A proven server with one stored mail; a foreign container has its name at first."""
    stack = make_stack("hints", image=IMAGE, dialect="2.4")
    sleeping("--name", stack.container)
    follow(stack.red(), r"docker rm -f \S+")
    stack.green()
    stack.save(BODY)
    yield stack
    remove("container", "rm", "-f", "-v", f"{MARK}-hints-other")
    remove("network", "rm", f"{MARK}-hints-network")


def sleeping(*options):
    """Run a container that does nothing."""
    argv = ["docker", "run", "-d", *options, "--entrypoint", "sleep", IMAGE, "600"]
    subprocess.run(argv, check=True, capture_output=True)


def remove(*argv):
    subprocess.run(["docker", *argv], check=False, capture_output=True)


def follow(printed, *commands):
    """Run the commands that a hint contains, in their order."""
    hint = printed.partition("hint: ")[2]
    for command in commands:
        found = re.search(command, hint)
        assert found, printed
        line = found.group().rstrip(",;.")
        done = subprocess.run(shlex.split(line), check=False, capture_output=True, text=True)
        assert done.returncode == 0, (line, done.stderr)


def refused(stack, **changes):
    """Run up, which preflight refuses while the server goes on."""
    before = stack.container_id()
    printed = stack.red(**changes)
    assert stack.container_id() == before
    return printed


def test_a_network_that_does_not_exist_is_created(stack):
    """The name in the command is the declared one."""
    follow(refused(stack, network=f"{MARK}-hints-network"), r"docker network create \S+")
    stack.green()
    stack.green(network=None)


def test_a_volume_that_does_not_exist_is_created(stack):
    """Docker would have made an empty one without a word."""
    volume = f"{MARK}-hints-volume"
    mounts = [{"source": volume, "target": "/srv/shared"}]
    follow(refused(stack, mounts=mounts), r"docker volume create \S+")
    stack.green()
    stack.green(mounts=None)
    stack.docker("volume", "rm", volume)


def test_a_folder_that_does_not_exist_is_made(stack, tmp_path):
    """A path of the Docker host, which is this machine."""
    mounts = [{"source": f"{tmp_path}/deep/shared", "target": "/srv/shared"}]
    follow(refused(stack, mounts=mounts), r"mkdir -p \S+")
    stack.green()
    stack.green(mounts=None)


def test_another_server_with_the_same_mail_is_stopped_for_good(stack):
    """Two servers on one store would each take the other's mail for damaged."""
    other = f"{MARK}-hints-other"
    sleeping("--name", other, "--restart=always", "-v", f"{stack.container}-mail:/var/mail")
    printed = refused(stack, environment={"LOG_LEVEL": "debug"})
    follow(printed, r"docker update --restart=no \S+", r"docker stop \S+")
    stack.green()
    assert BODY in stack.read_all()


def test_a_stopped_keeper_is_started(stack):
    """The running server holds the keys' memory meanwhile."""
    stack.docker("stop", "-t", "1", f"{stack.container}-keeper")
    done = stack.verify()
    assert done.returncode == 1, done.stdout + done.stderr
    follow(done.stderr, r"docker start \S+")
    assert stack.verify().returncode == 0
    stack.green()


def test_a_key_that_is_lost_in_memory_is_brought_back(stack):
    """Dovecot has read the key, and would not start again without it."""
    stack.docker("exec", f"{stack.container}-keeper", "rm", "/certs/k1.pem")
    done = stack.verify()
    assert done.returncode == 1, done.stdout + done.stderr
    assert "/certs/k1.pem" in done.stderr
    assert "hint: mailcrypt unlock" in done.stderr
    unlocked = stack.mailcrypt("unlock")
    assert unlocked.returncode == 0, unlocked.stderr
    assert stack.verify().returncode == 0


def test_a_server_whose_key_was_spoilt_is_replaced(stack):
    """Custody on disk: the script that spoils it is removed, then the hint's commands are run."""
    config = "/tmp/docker-mailserver/user-patches.sh"
    stack.run(f"echo ': > /certs/k1.pem' > {config}")
    printed = stack.red(keyCustody="disk", stopUnproven=False)
    stack.run(f"rm {config}")
    follow(printed, r"docker rm -f \S+")
    assert "pulumi up --refresh" in printed.partition("hint: ")[2]
    done = stack.pulumi("up", "--refresh", "--yes", "--skip-preview", "--stack", stack.name)
    assert done.returncode == 0, done.stdout
    assert BODY in stack.read_all()
    stack.green(keyCustody=None, stopUnproven=None)
