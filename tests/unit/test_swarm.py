"""Target swarm: what is declared, what the settings refuse, and what a manager's answers mean."""

import json
from base64 import b64decode

import pytest

from mailcrypt_component.checks.placed import placed
from mailcrypt_component.checks.proof.target import Target
from mailcrypt_component.checks.server_state import NotRunningError, ServerGoneError
from mailcrypt_component.component.service import _duration
from mailcrypt_component.dialects.dialect import Dialect
from mailcrypt_component.docker_api import swarm as docker_swarm
from mailcrypt_component.docker_api.swarm import engine_of_task, find_task, known_nodes
from mailcrypt_component.model.docker_host import DockerHost
from mailcrypt_component.model.errors import SettingsErrors, UnreachableError
from mailcrypt_component.model.read_settings import read_settings
from mailcrypt_component.model.settings import STORES
from mailcrypt_component.model.swarm import Swarm, swarm_of
from tests.unit.test_component import ARGS, PUBLIC_PEM, SECRET_MARK, declare

SWARM = {
    "target": "swarm",
    "dockerHost": "ssh://root@manager",
    "nodes": {"mail1": "ssh://root@mail1", "mail2": "ssh://root@mail2"},
    "placement": ["node.role==worker"],
    "binds": {store: f"/srv/{store}" for store in ("mail", "state", "config")},
}
TWO_KEYS = [{"name": "k2"}, {"name": "k1"}]


def service_of(mocks):
    return mocks.resources["mail-service"].inputs


def test_the_resources_of_a_server_on_a_swarm_are_these():
    """No container, no keeper, no volume: names and types are a promise here, too."""
    mocks, _ = declare(**SWARM)
    files = ("crypt", "storage", "public", "supervisor", "health", "only")
    assert {name: args.typ for name, args in mocks.resources.items()} == {
        "mail": "mailcrypt:index:MailCryptServer",
        "mail-manager": "pulumi:providers:docker",
        "mail-ring": "mailcrypt:index:KeyRing",
        "mail-ring-k1": "tls:index/privateKey:PrivateKey",
        "mail-ring-guard": "pulumi:index:Stash",
        "mail-dovecot": "mailcrypt:index:DovecotConfig",
        "mail-volumes-guard": "pulumi:index:Stash",
        "mail-overlay": "docker:index/network:Network",
        "mail-identity": "pulumi:index:Stash",
        "mail-claim": "pulumi:index:Stash",
        "mail-preflight": "pulumi:index:Stash",
        "mail-probe-password": "pulumi:index:Stash",
        "mail-accounts": "pulumi:index:Stash",
        **{f"mail-file-{name}": "docker:index/serviceConfig:ServiceConfig" for name in files},
        "mail-file-key-k1": "docker:index/secret:Secret",
        "mail-service": "docker:index/service:Service",
        "mail-proof": "pulumi:index:Stash",
    }


def test_private_keys_are_swarm_secrets_and_nowhere_else():
    """Each is labelled with its key's id, secret in the state, and a file for root alone."""
    mocks, found = declare(**SWARM, keys=TWO_KEYS)
    for name, key_id in zip(("k2", "k1"), found["key_ids"], strict=True):
        inputs = mocks.resources[f"mail-file-key-{name}"].inputs
        assert inputs["labels"] == [{"label": "mailcrypt.key", "value": key_id}]
        assert "name" not in inputs, "a former secret is removed only after the service is updated"
        assert set(inputs["data"]) == {SECRET_MARK, "value"}
        assert b"BEGIN PRIVATE KEY" in b64decode(inputs["data"]["value"])
    secrets = service_of(mocks)["taskSpec"]["containerSpec"]["secrets"]
    assert [(one["fileName"], one["fileMode"]) for one in secrets] == [
        ("/certs/k2.pem", 0o600),
        ("/certs/k1.pem", 0o600),
    ]
    others = [one.inputs for one in mocks.resources.values() if one.typ.endswith("ServiceConfig")]
    texts = [b64decode(inputs["data"]) for inputs in others]
    assert not any(b"PRIVATE KEY" in text for text in texts)
    assert b"/certs/k2.pem" in b"".join(texts)


def test_what_must_not_be_shared_or_hidden():
    """One replica that stops before the next starts, and ports at the node itself."""
    mocks, _ = declare(**SWARM)
    service = service_of(mocks)
    assert service["mode"]["replicated"]["replicas"] == 1
    assert service["updateConfig"]["order"] == "stop-first"
    assert {port["publishMode"] for port in service["endpointSpec"]["ports"]} == {"host"}
    assert len(service["endpointSpec"]["ports"]) == 5
    container = service["taskSpec"]["containerSpec"]
    assert container["commands"][-2] == "/usr/local/bin/mailcrypt-only-server"
    assert service["taskSpec"]["placement"]["constraints"] == ["node.role==worker"]


def test_stores_are_paths_and_memory_is_the_tasks_own():
    """Nothing of a mail lies on the node, apart from logs, which name addresses."""
    mocks, _ = declare(**SWARM, queue="memory")
    mounts = service_of(mocks)["taskSpec"]["containerSpec"]["mounts"]
    by_target = {mount["target"]: mount for mount in mounts}
    for store in ("mail", "state", "config"):
        assert by_target[STORES[store]]["source"] == f"/srv/{store}"
        assert by_target[STORES[store]]["type"] == "bind"
    assert by_target[STORES["logs"]]["source"] == "mail-test-logs"
    memory = [mount for mount in mounts if "source" not in mount]
    assert {mount["target"] for mount in memory} == {
        "/tmp",
        "/var/tmp",
        "/run/dovecot",
        "/run/mailcrypt-cache",
        "/var/mail-state/spool-postfix",
    }
    for mount in memory:
        options = mount["volumeOptions"]["driverOptions"]
        assert options["type"] == "tmpfs"


def test_a_store_may_be_a_volume_that_each_node_has():
    """The task mounts the node's own volume of that name, and declares no options for it."""
    mocks, _ = declare(**{**SWARM, "binds": {**SWARM["binds"], "mail": "mail-store"}})
    mounts = service_of(mocks)["taskSpec"]["containerSpec"]["mounts"]
    [mail] = [mount for mount in mounts if mount["target"] == STORES["mail"]]
    assert (mail["type"], mail["source"]) == ("volume", "mail-store")
    assert "volumeOptions" not in mail
    assert not [one for one in mocks.resources.values() if one.typ.endswith(":Volume")]


def test_the_commands_are_told_the_manager_and_the_nodes():
    """They ask the manager where the task is, and then the engine of that node."""
    _, found = declare(**SWARM)
    swarm = swarm_of(found["target"]["swarm"])
    assert swarm.service == "mail-test"
    assert swarm.manager.url == "ssh://root@manager"
    assert {name: host.url for name, host in swarm.nodes.items()} == SWARM["nodes"]


WRONG = {
    "no nodes": ({"nodes": {}}, "nodes"),
    "node without address": ({"nodes": {"mail1": "mail1"}}, "nodes.mail1"),
    "no path": ({"binds": {"mail": "/srv/mail", "state": "/srv/state"}}, "binds.config"),
    "custody in memory": ({"keyCustody": "memory"}, "keyCustody"),
    "custody on disk": ({"keyCustody": "disk"}, "keyCustody"),
    "public keys": ({"keys": [{"name": "k1", "publicPem": PUBLIC_PEM}]}, "keys"),
    "an address": ({"ports": {"imap": "127.0.0.1:143"}}, "ports"),
    "constraint": ({"placement": ["worker"]}, "placement[0]"),
    "unknown target": ({"target": "kubernetes"}, "target"),
}


@pytest.mark.parametrize(("change", "where"), WRONG.values(), ids=WRONG.keys())
def test_settings_that_a_swarm_cannot_keep_are_refused(change, where):
    """Each message names the setting."""
    with pytest.raises(SettingsErrors) as told:
        read_settings({**ARGS, **SWARM, **change})
    assert where in [fault.where for fault in told.value.faults]


@pytest.mark.parametrize("name", ["nodes", "placement", "keyCustody"])
def test_what_belongs_to_a_swarm_is_refused_on_one_machine(name):
    """A forgotten target would otherwise deploy another server than was meant."""
    with pytest.raises(SettingsErrors, match=name):
        read_settings({**ARGS, name: {**SWARM, "keyCustody": "swarm"}[name]})


@pytest.mark.parametrize(
    ("seconds", "text"), [(1, "1s"), (60, "1m"), (90, "1m30s"), (3600, "1h"), (3661, "1h1m1s")]
)
def test_times_are_written_as_the_provider_reads_them_back(seconds, text):
    """Otherwise each update would change the service."""
    assert _duration(seconds) == text


# --- a manager's answers


MANAGER = DockerHost("unix:///manager")
NODES = {"mail1": DockerHost("unix:///mail1"), "mail2": DockerHost("unix:///mail2")}


class Manager:
    """Answers as a manager's engine."""

    def __init__(self):
        self.control, self.state = True, "active"
        self.services = {"mail": service()}
        self.tasks = [task("1", "id1")]
        self.nodes = [node("id1", "mail1"), node("id2", "mail2"), node("id0", "boss", "manager")]

    def ask(self, _, path):
        """Return what GET path returns."""
        if path == "/info":
            return {"Swarm": {"ControlAvailable": self.control, "LocalNodeState": self.state}}
        if path.startswith("/services/"):
            return self.services.get(path.rpartition("/")[2])
        return self.tasks if path.startswith("/tasks") else self.nodes


def service(replicas=1, update=""):
    spec = {"Mode": {"Replicated": {"Replicas": replicas}}, "Labels": {"mailcrypt.stack": "x"}}
    return {"Spec": spec, "UpdateStatus": {"State": update}}


def task(number, node_id, state="running", created="2026-01-01", error=""):
    status = {"State": state, "ContainerStatus": {"ContainerID": f"container{number}"}}
    return {
        "ID": number,
        "NodeID": node_id,
        "CreatedAt": created,
        "Status": {**status, "Err": error},
    }


def node(node_id, name, role="worker", state="ready", availability="active"):
    spec = {"Role": role, "Availability": availability}
    return {
        "ID": node_id,
        "Description": {"Hostname": name},
        "Spec": spec,
        "Status": {"State": state},
    }


@pytest.fixture
def manager(monkeypatch):
    """A manager with one service whose task runs on mail1."""
    made = Manager()
    monkeypatch.setattr(docker_swarm, "ask", made.ask)
    return made


def target(nodes=NODES):
    return Target(
        docker_host=DockerHost("unix:///of-the-last-update"),
        container="of-the-last-update",
        dialect=Dialect.V2_4,
        key_ids=("0" * 64,),
        account="probe@example.test",
        deadline=1.0,
        password="x",
        swarm=Swarm(MANAGER, "mail", nodes),
    )


def test_a_target_is_the_task_that_runs_now(manager):
    """Not the one of the last update; and one machine's target stays as it is."""
    found = placed(target())
    assert (found.docker_host, found.container) == (NODES["mail1"], "container1")
    manager.tasks = [task("1", "id1"), task("2", "id2", created="2026-01-02")]
    assert placed(target()).docker_host == NODES["mail2"]


NOT_RUNNING = {
    "scaled to 0": (lambda m: m.services.update(mail=service(0)), "it was scaled to 0"),
    "scaled to 2": (lambda m: m.services.update(mail=service(2)), "it was scaled to 2"),
    "rolled back": (
        lambda m: m.services.update(mail=service(1, "rollback_completed")),
        "Swarm has gone back to the version before",
    ),
    "updating": (lambda m: m.services.update(mail=service(1, "updating")), "an update of it"),
    "no task": (lambda m: m.tasks.clear(), "no node takes its task"),
    "node lost": (lambda m: m.nodes[0]["Status"].update(State="down"), "does not answer the manag"),
    "rejected": (
        lambda m: m.tasks.__setitem__(0, task("1", "id1", "rejected", error="no such image")),
        "on node mail1: no such image",
    ),
}


@pytest.mark.parametrize(("happen", "words"), NOT_RUNNING.values(), ids=NOT_RUNNING.keys())
def test_a_task_that_does_not_run_is_never_taken_for_the_server(manager, happen, words):
    """The message says what the node or the manager says."""
    happen(manager)
    with pytest.raises(NotRunningError, match=words):
        placed(target())


def test_a_removed_service_and_an_unknown_node_are_named(manager):
    """Each has a message of its own."""
    with pytest.raises(UnreachableError, match="node mail1, whose Docker host is not known"):
        placed(target({"mail2": NODES["mail2"]}))
    manager.services.clear()
    with pytest.raises(ServerGoneError, match="the service was removed"):
        placed(target())


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("inactive", "docker swarm init"),
        ("locked", "docker swarm unlock"),
        ("active", "it is a worker"),
    ],
)
def test_an_engine_that_is_no_manager_is_named(manager, state, words):
    """With the command that makes it one."""
    manager.control, manager.state = False, state
    with pytest.raises(UnreachableError, match=words):
        placed(target())


def test_gates_ask_the_node_of_the_task_else_one_that_is_ready(manager):
    """A node that the Swarm has lost is not asked."""
    assert engine_of_task(MANAGER, "mail", NODES) == NODES["mail1"]
    manager.nodes[0] = node("id1", "mail1", state="down")
    assert engine_of_task(MANAGER, "mail", NODES) == NODES["mail2"]
    assert find_task(MANAGER, "mail").fault
    manager.nodes[1] = node("id2", "mail2", availability="drain")
    with pytest.raises(UnreachableError, match="none of mail1, mail2 takes a task"):
        engine_of_task(MANAGER, "mail", NODES)
    with pytest.raises(UnreachableError, match="the Swarm has no node mail3"):
        engine_of_task(MANAGER, "mail", {**NODES, "mail3": MANAGER})


def test_a_target_survives_its_way_through_the_state():
    """Commands read it as JSON."""
    facts = json.loads(json.dumps(target().swarm.as_json()))
    assert swarm_of(facts) == target().swarm


def test_a_paused_node_still_runs_its_task(manager):
    """It takes no new one; only a node that does not answer is lost."""
    manager.nodes[0] = node("id1", "mail1", availability="pause")
    assert placed(target()).docker_host == NODES["mail1"]


def test_of_two_nodes_with_one_name_the_one_that_answers_counts(manager):
    """A machine that was set up anew joins again; and one that never connected has no name."""
    manager.nodes.append(node("id9", "mail2", state="down"))
    manager.nodes.append({**node("id8", ""), "Description": {}})
    assert known_nodes(MANAGER, NODES)["mail2"].answers


@pytest.mark.parametrize(
    ("constraints", "meets"),
    [
        ([], True),
        (["node.role==worker"], True),
        (["node.role == manager"], False),
        (["node.hostname!=mail1"], False),
        (["node.labels.mail==yes", "node.role!=manager"], True),
        (["node.labels.disk==ssd"], False),
        (["node.labels.disk!=ssd"], True),
        (["engine.labels.rack==a"], False),
    ],
)
def test_constraints_are_read_as_swarm_reads_them(manager, constraints, meets):
    """A node that no one looked at must not be one that Swarm can choose."""
    manager.nodes[0]["Spec"]["Labels"] = {"mail": "yes"}
    assert known_nodes(MANAGER, NODES)["mail1"].meets(constraints) == meets
