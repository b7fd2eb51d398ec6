"""The graph, under mocks: this shows what is declared, never that mail is encrypted."""

import json

import pulumi
import pytest

from mailcrypt_component import MailCryptServer
from mailcrypt_component.testing import use_mocks

SECRET_MARK = "4dabf18193072939515e22adb298388d"

ARGS = {
    "image": "mailserver/docker-mailserver:16.0",
    "hostname": "mail.example.test",
    "accounts": [{"address": "you@example.test", "password": "hunter2hunter2"}],
    "tls": {"mode": "dms"},
}


def declare(name="mail", opts=None, **changes):
    """Declare a server under fresh mocks and return it with them once all is resolved."""
    mocks = use_mocks()
    found = {}

    @pulumi.runtime.test
    def program():
        found["server"] = MailCryptServer(name, {**ARGS, **changes}, opts)
        server = found["server"]
        return pulumi.Output.all(server.verify_target, server.key_ids).apply(
            lambda both: found.update(target=json.loads(both[0]), key_ids=both[1])
        )

    program()
    return mocks, found


def uploads_of(mocks, name="mail"):
    uploads = mocks.resources[f"{name}-server"].inputs["uploads"]
    assert set(uploads) == {SECRET_MARK, "value"}, "the uploads are not secret"
    return {item["file"]: item for item in uploads["value"]}


def test_the_resources_of_a_server_are_these():
    """Names and types are a promise: a change of either loses keys or mail."""
    mocks, _ = declare()
    assert {name: args.typ for name, args in mocks.resources.items()} == {
        "mail": "mailcrypt:index:MailCryptServer",
        "mail-image": "docker:index/remoteImage:RemoteImage",
        "mail-ring": "mailcrypt:index:KeyRing",
        "mail-ring-k1": "tls:index/privateKey:PrivateKey",
        "mail-config": "docker:index/volume:Volume",
        "mail-dovecot": "mailcrypt:index:DovecotConfig",
        "mail-mail": "docker:index/volume:Volume",
        "mail-state": "docker:index/volume:Volume",
        "mail-logs": "docker:index/volume:Volume",
        "mail-network": "docker:index/network:Network",
        "mail-preflight": "pulumi:index:Stash",
        "mail-probe-password": "pulumi:index:Stash",
        "mail-accounts": "pulumi:index:Stash",
        "mail-server": "docker:index/container:Container",
        "mail-proof": "pulumi:index:Stash",
    }


def test_private_keys_lie_there_0600_and_the_rest_is_readable():
    """One private key file per key of the ring, one public key: the current one's."""
    mocks, _ = declare(keys=[{"name": "k2"}, {"name": "k1"}])
    modes = {path: item["permissions"] for path, item in uploads_of(mocks).items()}
    assert modes == {
        "/etc/dovecot/conf.d/10-custom.conf": "0644",
        "/certs/current.pub.pem": "0644",
        "/certs/k2.pem": "0600",
        "/certs/k1.pem": "0600",
    }


def test_the_key_material_is_made_as_dovecot_takes_it():
    """PKCS#8 and a stated curve: the provider's defaults are SEC1 and P-224."""
    mocks, _ = declare(keys=[{"name": "k1", "curve": "P384"}])
    assert mocks.resources["mail-ring-k1"].inputs["ecdsaCurve"] == "P384"
    assert "BEGIN PRIVATE KEY" in uploads_of(mocks)["/certs/k1.pem"]["content"]


def test_no_secret_is_in_the_environment_or_the_labels():
    """What docker inspect shows holds no key and no password."""
    mocks, found = declare(tls={"mode": "self-signed"})
    inputs = mocks.resources["mail-server"].inputs
    shown = json.dumps({key: value for key, value in inputs.items() if key != "uploads"})
    assert "PRIVATE" not in shown
    assert "hunter2" not in shown
    assert found["target"]["password"] not in shown


def test_the_gates_store_public_facts_only():
    """Neither gate's facts hold a key or a password."""
    mocks, found = declare()
    for gate in ("mail-preflight", "mail-proof"):
        stored = json.dumps(mocks.resources[gate].inputs)
        assert "PRIVATE" not in stored
        assert found["target"]["password"] not in stored
        assert found["key_ids"][0] in stored


def test_the_first_key_is_current():
    """The proof is told to expect the key at the front of the ring."""
    _, found = declare(keys=[{"name": "new"}, {"name": "old"}])
    assert found["target"]["keyIds"] == found["key_ids"]
    assert len(set(found["key_ids"])) == 2


def test_two_servers_fit_into_one_program():
    """No name of one is a name of the other."""
    mocks = use_mocks()

    @pulumi.runtime.test
    def program():
        first = MailCryptServer("one", ARGS)
        second = MailCryptServer("two", {**ARGS, "ports": {"imap": 1143}})
        return pulumi.Output.all(first.verify_target, second.verify_target)

    program()
    names = [mocks.resources[f"{name}-server"].inputs["name"] for name in ("one", "two")]
    assert names == ["one-test", "two-test"]


def test_a_foreign_network_is_used_and_none_is_made():
    """The server joins the network that it is given."""
    mocks, _ = declare(network="shared")
    assert mocks.resources["mail-server"].inputs["networksAdvanced"][0]["name"] == "shared"
    assert "mail-network" not in mocks.resources


def test_a_bind_takes_the_place_of_a_volume():
    """The host's directory is mounted where the volume would be."""
    mocks, _ = declare(keyCustody="disk", binds={"mail": "/srv/mail", "certs": "/srv/certs"})
    mounts = {
        item["containerPath"]: item.get("hostPath") or item.get("volumeName")
        for item in mocks.resources["mail-server"].inputs["volumes"]
    }
    assert mounts["/var/mail"] == "/srv/mail"
    assert mounts["/certs"] == "/srv/certs"
    assert mounts["/var/mail-state"] == "mail-test-state"
    assert "mail-mail" not in mocks.resources


def test_wrong_arguments_stop_before_any_resource():
    """One error names them all, and nothing was declared."""
    mocks = use_mocks()
    with pytest.raises(pulumi.RunError, match="2 settings are wrong"):
        MailCryptServer("mail", {**ARGS, "hostname": "x", "deadline": 0})
    assert mocks.resources == {}
