"""A server on a Swarm: declared, proven, moved by a power cut, and looked for on every disk."""

import json
import time

import pytest

from tests.stacks import ALL, changed
from tests.store import valid
from tests.swarm.cluster import SwarmStack, swarm
from tests.thief.engine import EngineStack
from tests.thief.load import NONE, Stream, faults, read_load, send_load, wait_for_queue
from tests.thief.mails import (
    ACCOUNTS,
    CONTROL,
    install_sieve,
    look_as_clients,
    new_mark,
    send_all,
)
from tests.thief.search import key_patterns, search, shown
from tests.thief.test_thief import IMAGES, TWO_KEYS, keys_of

pytestmark = [pytest.mark.engine, pytest.mark.timeout(3600)]

FIRST = "2.3" if ALL else "2.4"
DEFAULTS = {"image": IMAGES[FIRST], "dialect": FIRST, "accounts": ACCOUNTS}
BREAK = ("-sf", "/bin/false", "/usr/bin/supervisord")
FAILOVERS = 20 if ALL else 1
"""How fast each one is, benchmarks/failover.py times."""
MAILS = 5
"""Mails accepted between two of them."""


def wait_until_proven(stack):
    """Return once verify succeeds: the Swarm takes a while to find its nodes again."""
    end = time.monotonic() + 90
    while (done := stack.verify()).returncode:
        assert time.monotonic() < end, done.stderr
        time.sleep(1)


@pytest.fixture(scope="module")
def cluster():
    """Three engines: a manager, and two workers that may run the server."""
    with swarm("swarm", *{IMAGES[FIRST], IMAGES["2.4"]}) as made:
        yield made


@pytest.fixture(scope="module")
def stack(tmp_path_factory, cluster):
    """A proven server on the Swarm; destroyed at the end."""
    made = SwarmStack(tmp_path_factory.mktemp("swarm"), "swarm", cluster)
    printed = made.green(**DEFAULTS)
    assert "mailcrypt-proof: proven" in printed
    assert "2 nodes ready" in printed
    yield made
    made.destroy()
    assert made.docker("service", "ls", "-q") == ""
    assert made.docker("secret", "ls", "-q") == ""
    assert made.docker("config", "ls", "-q") == ""


def test_a_second_up_changes_nothing(stack):
    """Neither the service nor a gate, in an update as in a preview."""
    printed = stack.green()
    assert not changed(printed)
    assert "to update" not in stack.preview()


def test_the_commands_find_the_task_on_its_node(stack):
    """All of them look at the engine of the node that runs the server."""
    assert stack.verify().returncode == 0
    status = stack.mailcrypt("status", "--json")
    assert valid(status.stdout, "status")["verdict"] == "proven"
    send_load(stack, 3)
    wait_for_queue(stack)
    audit = stack.mailcrypt("audit", "--json")
    assert audit.returncode == 0, audit.stdout + audit.stderr
    assert valid(audit.stdout, "audit")["total"] == 3
    assert stack.mailcrypt("encrypt").returncode == 0


@pytest.mark.long
def test_rotation_and_the_step_to_dovecot_2_4_keep_all_mail_readable(stack):
    """Each replaces the task; former secrets and configs are removed once they are unused."""
    before = read_load(stack)
    assert before
    stack.green(keys=TWO_KEYS)
    assert len(stack.docker("secret", "ls", "-q").split()) == 2
    assert read_load(stack) == before
    stack.green(image=IMAGES["2.4"], dialect="2.4")
    assert read_load(stack) == before
    assert stack.mailcrypt("encrypt", "--apply").returncode == 0
    stack.green(keys=TWO_KEYS[:1])
    assert len(stack.docker("secret", "ls", "-q").split()) == 1
    assert read_load(stack) == before
    assert not changed(stack.green())


@pytest.mark.long
def test_exposure_grades_the_managers_by_their_autolock(stack):
    """Without autolock, the key lies on a manager's disk next to what opens it."""
    found = json.loads(stack.mailcrypt("exposure", "--json").stdout)
    [managers] = [one for one in found["findings"] if one["part"] == "Swarm managers"]
    assert (managers["exposed"], found["grade"]) == ("key", "open")
    stack.docker("swarm", "update", "--autolock=true")
    found = json.loads(stack.mailcrypt("exposure", "--json").stdout)
    [managers] = [one for one in found["findings"] if one["part"] == "Swarm managers"]
    stack.docker("swarm", "update", "--autolock=false")
    assert managers["exposed"] == "nothing"


@pytest.mark.long
def test_the_keys_cannot_be_locked_away(stack):
    """A task that moves brings them along, so there is nothing to lock or to unlock."""
    for command in ("lock", "unlock"):
        done = stack.mailcrypt(command)
        assert done.returncode != 0
        assert "always unlocked" in done.stderr


def test_a_lost_node_costs_no_accepted_mail(stack):
    """The power of the task's node is cut under delivery, again and again."""
    stream = Stream(stack)
    for _ in range(FAILOVERS):
        stream.wait_for(MAILS)
        stack.fail_over()
    stream.wait_for(MAILS)
    stream.stop()
    wait_for_queue(stack)
    found = faults(stream.accepted, read_load(stack))
    assert not found["missing"]
    assert not found["bent"]
    wait_until_proven(stack)
    assert "mailcrypt-proof" in changed(stack.green())
    assert not changed(stack.green())


@pytest.mark.long
def test_a_node_that_is_cut_off_never_shares_the_mail_with_another(stack):
    """It runs on with the mail store; the task that replaces it waits, and then takes over."""
    node, container = stack.task()
    node.pull_the_plug()
    try:
        other, waiting = _next_task(stack, node)
        assert "another server has this mail store" in _logs_of(other, waiting)
        assert "dovecot" not in other.docker("top", waiting)
        assert "dovecot" in node.docker("top", container)
    finally:
        node.plug_in()
    stack.wait_until_readable()
    wait_until_proven(stack)
    stack.green()


def _next_task(stack, former):
    """Return the node and the container of the task that replaces the one on a node."""
    end = time.monotonic() + 90
    while (found := stack.task()) is None or found[0] is former:
        assert time.monotonic() < end
        time.sleep(0.5)
    return found


def _logs_of(node, container):
    end = time.monotonic() + 30
    while not (found := node.docker("logs", container)):
        assert time.monotonic() < end
        time.sleep(0.2)
    return found


@pytest.mark.long
def test_a_lost_manager_does_not_stop_the_server(stack):
    """Mail comes and goes without it; the commands say what is missing."""
    stack.cluster.manager.cut_power()
    try:
        sent = send_load(stack, 5)
        assert stack.is_readable()
        done = stack.verify()
    finally:
        stack.cluster.manager.start()
    assert done.returncode == 2
    assert "no Docker engine answers" in done.stderr
    wait_until_proven(stack)
    assert faults(sent, read_load(stack)) == NONE


@pytest.mark.long
def test_a_removed_service_comes_back(stack):
    """Neither up nor a command calls it proven; the hint mends it."""
    stack.docker("service", "rm", stack.container)
    done = stack.verify()
    assert done.returncode == 2
    assert "the service was removed" in done.stderr
    assert "pulumi up --refresh" in done.stderr
    done = stack.mailcrypt("repair", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert stack.verify().returncode == 0


@pytest.mark.long
def test_a_paused_task_is_replaced_by_repair(stack):
    """Swarm takes it for running, but nobody is served."""
    node, container = stack.task()
    node.docker("pause", container)
    assert stack.mailcrypt("status").returncode == 1
    assert "paused" in stack.red()
    done = stack.mailcrypt("repair", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert stack.verify().returncode == 0
    assert not changed(stack.green())


WRONG = {
    "unknown node": ({"nodes": {"mail9": "unix:///x"}}, "the Swarm has no node mail9"),
    "missing path": ({"binds": {"mail": "/nowhere"}}, "/nowhere does not exist"),
    "only manager": ("manager", "is one of 1 manager"),
    "wrong engine": ("swapped", "this is the engine of"),
    "any node": ({"placement": []}, "Swarm could also run the server on"),
    "local network": ("local", "driver bridge"),
}


@pytest.mark.long
@pytest.mark.parametrize(("change", "words"), WRONG.values(), ids=WRONG.keys())
def test_what_would_not_work_is_refused_and_the_task_stays(stack, change, words):
    """Preflight asks the manager and each node."""
    before, cluster = stack.task(), stack.cluster
    one, two = cluster.workers
    if change == "manager":
        change = {"nodes": {cluster.manager.host_name: cluster.manager.url}}
    elif change == "swapped":
        change = {"nodes": {one.host_name: two.url, two.host_name: one.url}}
    elif change == "local":
        stack.docker("network", "create", "local")
        change = {"network": "local"}
    elif "binds" in change:
        change = {"binds": {**stack.base["binds"], **change["binds"]}}
    kept = {name: stack.config.get(name) for name in change}
    try:
        said = stack.red(**change)
        assert words in said
        assert stack.task() == before
    finally:
        stack.configure(**kept)


@pytest.mark.long
def test_a_node_that_does_not_reach_the_mail_store_is_refused(stack):
    """Its folder is there, and empty; found out before the task would have to wait there."""
    before = stack.task()
    [other] = [node for node in stack.cluster.workers if node is not before[0]]
    place = f"{stack.cluster.folder}/mail"
    other.run_in_mounts("mount", "-t", "tmpfs", "tmpfs", place)
    try:
        said = stack.red(environment={"LOG_LEVEL": "debug"})
    finally:
        other.run_in_mounts("umount", place)
    assert f"binds.mail {place} on node {other.host_name}: the folder is not this" in said
    assert f"findmnt --target {place}, on {other.host_name}" in said
    assert stack.task() == before
    assert not changed(stack.green(environment=None))


@pytest.mark.long
def test_stores_may_be_volumes_that_mount_the_storage_on_each_node(stack):
    """Such as NFS; a volume that only one node has, or another one there, is refused."""
    before, cluster = read_load(stack), stack.cluster
    paths, (one, two) = stack.config["binds"], cluster.workers
    volumes = {store: f"store-{store}" for store in paths}
    shared = {
        name: ("-o=type=none", "-o=o=bind", f"-o=device={paths[store]}")
        for store, name in volumes.items()
    }
    assert "the volume store-mail does not exist" in stack.red(binds=volumes)
    for name, options in shared.items():
        one.docker("volume", "create", *options, name)
        two.docker("volume", "create", name)
    said = stack.red(binds=volumes)
    assert f"store-mail on node {two.host_name}: its driver or options differ from" in said
    one.docker("volume", "create", "alone")
    two.docker("volume", "create", "alone")
    assert "a volume of that node alone" in stack.red(binds={**paths, "mail": "alone"})
    for name, options in shared.items():
        two.docker("volume", "rm", name)
        two.docker("volume", "create", *options, name)
    stack.green(binds=volumes)
    assert read_load(stack) == before
    assert not changed(stack.green())
    stack.fail_over()
    assert read_load(stack) == before
    wait_until_proven(stack)
    audit = stack.mailcrypt("audit", "--json")
    assert valid(audit.stdout, "audit")["total"] == len(before)
    stack.green(binds=paths)
    assert read_load(stack) == before


@pytest.mark.long
def test_an_image_that_does_not_start_leaves_the_former_server_in_place(stack):
    """Swarm goes back to it by itself; the update fails, and says so until it is mended."""
    for node in stack.cluster.workers:
        node.docker("run", "--name=broken", "--entrypoint=ln", stack.config["image"], *BREAK)
        node.docker("commit", "-c", "ENTRYPOINT []", "broken", "broken:1")
        node.docker("rm", "broken")
    before, image = read_load(stack), stack.config["image"]
    said = stack.red(image="broken:1")
    assert "rollback" in said or "rolled back" in said, said
    stack.wait_until_readable()
    assert read_load(stack) == before
    node, container = stack.task()
    assert node.docker("inspect", "-f", "{{.Config.Image}}", container).strip() == image
    assert "Swarm has gone back to the version before" in stack.verify().stderr
    stack.green(image=image)
    assert stack.verify().returncode == 0
    assert not changed(stack.green())


@pytest.mark.long
def test_an_unproven_server_takes_no_mail_on_any_node(stack):
    """Swarm would start a stopped task anew, so the service is scaled to 0 until it is mended."""
    configuration = stack.cluster.folder / "config/dovecot.cf"
    configuration.write_text("crypt_write_algorithm =\n")
    printed = stack.red(environment={"LOG_LEVEL": "debug"})
    assert "was stopped and takes no mail" in printed
    assert stack.task() is None
    assert "it was scaled to 0" in stack.verify().stderr
    configuration.unlink()
    assert "pulumi up --refresh" in printed
    stack.pulumi("up", "--refresh", "--yes", "--skip-preview", "--stack", stack.name, check=True)
    assert stack.verify().returncode == 0
    stack.green(environment=None)


class TestWholeLife:
    """Rotation, an upgrade of Dovecot, the way from one machine and the thief of every disk."""

    __test__ = ALL

    def test_from_one_machine_to_the_swarm_and_through_its_life(self, stack, tmp_path):
        """The same mail all the while; then no node's disk holds a key or a word of any mail."""
        cluster, mark = stack.cluster, new_mark()
        one, _ = stack.task()
        on_swarm = {name: stack.config[name] for name in ("nodes", "placement", "dockerHost")}
        send_load(stack, 3)
        wait_for_queue(stack)
        before = read_load(stack)

        on_machine = {"nodes": None, "placement": None, "dockerHost": one.url}
        stack.configure(target="machine", queue="memory", **on_machine)
        refused = stack.red()
        assert f"docker service rm {stack.container}" in refused
        stack.docker("service", "rm", stack.container)
        assert "pulumi up --refresh" in refused
        end = time.monotonic() + 60
        while one.docker("ps", "-q"):  # The task gets its time to stop.
            assert time.monotonic() < end
            time.sleep(0.5)
        argv = ("up", "--refresh", "--yes", "--skip-preview", "--stack", stack.name)
        stack.pulumi(*argv, check=True)
        machine = EngineStack.__new__(EngineStack)
        machine.__dict__.update(stack.__dict__, engine=one)
        assert read_load(machine) == before
        assert f"docker stop {stack.container}" in stack.red(target="swarm", **on_swarm)
        one.docker("stop", stack.container)
        stack.green()
        assert read_load(stack) == before
        assert not changed(stack.green())

        install_sieve(stack)
        send_all(stack, mark)
        look_as_clients(stack, mark)
        keys = keys_of(stack)
        stack.green(keys=[{"name": "k3"}, *stack.config.get("keys", [{"name": "k1"}])])
        send_all(stack, mark)
        patterns = {"mark": mark.encode(), CONTROL: f"<{CONTROL}.".encode()}
        for number, pem in enumerate({*keys, *keys_of(stack)}):
            patterns |= {f"{name} {number}": word for name, word in key_patterns(pem).items()}
        found = 0
        for node in (*cluster.workers, cluster.manager):
            node.cut_power()
            hits = search(node.image, patterns)
            others = [hit for hit in hits if hit.name != CONTROL]
            found += len(hits) - len(others)
            assert not others, shown(node.image, others)
            node.start()
        assert found, "Message-IDs are in the logs of a node"
        wait_until_proven(stack)
