"""Green is about the server that runs now: whatever happened to it behind Pulumi's back.

Every hint that is a command is run in the state that prints it.
"""

import re
import subprocess

import pytest

from tests.stacks import changed

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200)]

IMAGE = "mailcrypt-dms-dev:13"
PROOF = {"mailcrypt-proof"}


@pytest.fixture(scope="module")
def stack(make_stack):
    """A proven server with one stored mail."""
    stack = make_stack("live", image=IMAGE, dialect="2.4")
    stack.green()
    stack.save("stored before everything")
    return stack


def docker(*argv):
    subprocess.run(["docker", *argv], check=True, capture_output=True)


def hint_of(printed):
    """Return the words of the hint's pulumi command."""
    found = re.search(r"hint: .*?pulumi (up --refresh)", printed)
    assert found, printed
    return found.group(1).split()


def mended_by_the_hint(stack, printed):
    """Run the command of the hint; the server is proven and has its mail."""
    done = stack.pulumi(*hint_of(printed), "--yes", "--skip-preview", "--stack", stack.name)
    assert done.returncode == 0, done.stdout
    assert stack.verify().returncode == 0
    assert "stored before everything" in stack.read_all()
    assert changed(stack.green()) == set()


def test_nothing_happened_and_nothing_is_done(stack):
    """The facts of the gates are the same as after the first update."""
    assert changed(stack.green()) == set()


@pytest.mark.parametrize("how", ["restart", pytest.param("kill", marks=pytest.mark.long)])
def test_a_server_that_was_started_again_is_proven_again(stack, how):
    """The container is the same one, and another process runs in it."""
    docker(*(("restart",) if how == "restart" else ("kill",)), stack.container)
    if how == "kill":
        docker("start", stack.container)
    printed = stack.green()
    assert changed(printed) == PROOF
    assert "proven" in printed


def test_a_removed_server_is_red_until_the_hint_has_been_followed(stack):
    """An update never says that nothing changed."""
    docker("rm", "-f", stack.container)
    printed = stack.red()
    assert "removed" in printed or "does not exist" in printed
    assert stack.verify().returncode == 2
    mended_by_the_hint(stack, stack.red())


@pytest.mark.long
def test_a_stopped_server_is_red_until_the_hint_has_been_followed(stack):
    """Its state is named."""
    docker("stop", "-t", "2", stack.container)
    printed = stack.red()
    assert "exited" in printed
    mended_by_the_hint(stack, printed)


@pytest.mark.long
def test_another_container_under_its_name_is_not_the_server(stack):
    """It is not looked at in the server's place; once it is gone, the hint helps."""
    docker("rm", "-f", stack.container)
    docker("run", "-d", "--name", stack.container, "--entrypoint", "sleep", IMAGE, "600")
    printed = stack.red()
    assert "removed" in printed or "does not exist" in printed
    docker("rm", "-f", stack.container)
    mended_by_the_hint(stack, printed)


@pytest.mark.long
def test_a_removed_keeper_is_red_until_the_hint_has_been_followed(stack):
    """The server still holds the keys, and would lose them at its next restart."""
    docker("rm", "-f", f"{stack.container}-keeper")
    printed = stack.red()
    assert "keeper" in printed
    mended_by_the_hint(stack, printed)


def test_a_reboot_locks_the_server_and_one_update_unlocks_it(stack):
    """Memory is empty once server and keeper have both stopped."""
    both = (stack.container, f"{stack.container}-keeper")
    docker("stop", "-t", "2", *both)
    docker("start", *both)
    assert "locked" in stack.mailcrypt("status").stdout
    assert changed(stack.green()) == {"mailcrypt-unlock", *PROOF}
    assert "stored before everything" in stack.read_all()


def test_a_server_that_stores_in_clear_is_stopped_and_loses_no_mail(stack):
    """Mail that is sent meanwhile waits with its sender, and is delivered encrypted later."""
    config = "/tmp/docker-mailserver"
    stack.run(f"echo 'crypt_write_algorithm =' > {config}/dovecot.cf")
    printed = stack.red(environment={"LOG_LEVEL": "debug"})
    assert "was stopped and takes no mail" in printed
    state = stack.docker("inspect", "-f", "{{.State.Status}}", stack.container).strip()
    assert state == "exited"
    assert "was stopped" in stack.red() or "exited" in stack.red()
    volume = f"{stack.container}-config"
    docker("run", "--rm", "-v", f"{volume}:/c", "--entrypoint", "rm", IMAGE, "/c/dovecot.cf")
    mended_by_the_hint(stack, printed)


@pytest.mark.long
def test_with_stop_unproven_off_the_server_runs_on(stack):
    """The update is red all the same."""
    config = "/tmp/docker-mailserver"
    stack.run(f"echo 'crypt_write_algorithm =' > {config}/dovecot.cf")
    printed = stack.red(environment={"LOG_LEVEL": "info"}, stopUnproven=False)
    assert "runs on (stopUnproven)" in printed
    state = stack.docker("inspect", "-f", "{{.State.Status}}", stack.container).strip()
    assert state == "running"
    stack.run(f"rm {config}/dovecot.cf")
    stack.green(environment=None, stopUnproven=None)
    assert "stored before everything" in stack.read_all()
