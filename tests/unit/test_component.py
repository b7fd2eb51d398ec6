"""The graph under mocks: these tests show what is declared, never that mail is encrypted."""

import json
from pathlib import Path

import pulumi
import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from mailcrypt_component import MailCryptServer
from mailcrypt_component.component.scope import Scope
from mailcrypt_component.dcrypt.key_id import key_id
from mailcrypt_component.testing import use_mocks

SECRET_MARK = "4dabf18193072939515e22adb298388d"

_PEM = (Path(__file__).parents[1] / "vectors/keys/p256.pem").read_bytes()
PUBLIC_KEY = load_pem_private_key(_PEM, None).public_key()
PUBLIC_KEY_ID = key_id(PUBLIC_KEY)
PUBLIC_PEM = PUBLIC_KEY.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

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
    if isinstance(uploads, dict):
        assert set(uploads) == {SECRET_MARK, "value"}, "the uploads are not secret"
        uploads = uploads["value"]
    return {item["file"]: item for item in uploads}


def test_the_resources_of_a_server_are_these():
    """Names and types are a promise, because a change of either loses keys or mail."""
    mocks, _ = declare()
    assert {name: args.typ for name, args in mocks.resources.items()} == {
        "mail": "mailcrypt:index:MailCryptServer",
        "mail-image": "docker:index/remoteImage:RemoteImage",
        "mail-ring": "mailcrypt:index:KeyRing",
        "mail-ring-k1": "tls:index/privateKey:PrivateKey",
        "mail-ring-guard": "pulumi:index:Stash",
        "mail-memory-keys": "docker:index/volume:Volume",
        "mail-memory-cache": "docker:index/volume:Volume",
        "mail-keeper": "docker:index/container:Container",
        "mail-unlock": "pulumi:index:Stash",
        "mail-config": "docker:index/volume:Volume",
        "mail-dovecot": "mailcrypt:index:DovecotConfig",
        "mail-mail": "docker:index/volume:Volume",
        "mail-state": "docker:index/volume:Volume",
        "mail-logs": "docker:index/volume:Volume",
        "mail-volumes-guard": "pulumi:index:Stash",
        "mail-network": "docker:index/network:Network",
        "mail-identity": "pulumi:index:Stash",
        "mail-claim": "pulumi:index:Stash",
        "mail-preflight": "pulumi:index:Stash",
        "mail-probe-password": "pulumi:index:Stash",
        "mail-accounts": "pulumi:index:Stash",
        "mail-server": "docker:index/container:Container",
        "mail-proof": "pulumi:index:Stash",
    }


PUBLIC_UPLOADS = {
    "/etc/dovecot/conf.d/10-custom.conf": "0644",
    "/etc/dovecot/conf.d/99-mailcrypt.conf": "0644",
    "/etc/mailcrypt/current.pub.pem": "0644",
    "/etc/supervisor/conf.d/mailcrypt.conf": "0644",
    "/usr/local/lib/mailcrypt/health.py": "0644",
}
TWO_KEYS = [{"name": "k2"}, {"name": "k1"}]


def test_no_private_key_is_uploaded_by_default():
    """Only the unlock gate brings the keys into the keeper's memory."""
    mocks, found = declare(keys=TWO_KEYS)
    uploads = uploads_of(mocks)
    assert {path: item["permissions"] for path, item in uploads.items()} == {
        **PUBLIC_UPLOADS,
        "/etc/mailcrypt/locked": "0755",
        "/etc/mailcrypt/ring.json": "0644",
    }
    assert "PRIVATE KEY" not in json.dumps(list(uploads.values()))
    ring = json.loads(uploads["/etc/mailcrypt/ring.json"]["content"])
    assert [key["keyId"] for key in ring["keys"]] == found["key_ids"]


def test_with_custody_on_disk_the_private_keys_are_uploaded_for_root_alone():
    """There is one private key file per key of the ring, and the current key's public file."""
    mocks, _ = declare(keys=TWO_KEYS, keyCustody="disk", indexCache="disk")
    modes = {path: item["permissions"] for path, item in uploads_of(mocks).items()}
    assert modes == {**PUBLIC_UPLOADS, "/certs/k2.pem": "0600", "/certs/k1.pem": "0600"}
    assert "mail-keeper" not in mocks.resources


def test_a_ring_of_public_keys_declares_no_private_key():
    """Neither the state nor the program holds one, and no gate unlocks the server."""
    mocks, found = declare(keys=[{"name": "k1", "publicPem": PUBLIC_PEM}])
    assert found["key_ids"] == [PUBLIC_KEY_ID]
    assert "mail-ring-k1" not in mocks.resources
    assert "mail-unlock" not in mocks.resources
    assert "mail-keeper" in mocks.resources
    everything = json.dumps([args.inputs for args in mocks.resources.values()])
    assert "PRIVATE KEY" not in everything


def test_the_key_material_is_generated_in_the_form_that_dovecot_accepts():
    """The keys are PKCS#8 with a stated curve; the provider's defaults are SEC1 and P-224."""
    keys = [{"name": "k1", "curve": "P384"}]
    mocks, _ = declare(keys=keys, keyCustody="disk", indexCache="disk")
    assert mocks.resources["mail-ring-k1"].inputs["ecdsaCurve"] == "P384"
    assert "BEGIN PRIVATE KEY" in uploads_of(mocks)["/certs/k1.pem"]["content"]


def test_memory_volumes_are_never_swapped_out():
    """The volumes are tmpfs with noswap, and the keeper and the server mount the same ones."""
    mocks, _ = declare(queue="memory")
    sizes = {"keys": 1, "cache": 256, "queue": 256}
    for short, size in sizes.items():
        inputs = mocks.resources[f"mail-memory-{short}"].inputs
        assert inputs["name"] == f"mail-test-{short}-{size}m"
        assert inputs["driverOpts"]["type"] == "tmpfs"
        assert "noswap" in inputs["driverOpts"]["o"]

    def mounted(name):
        return {
            item["volumeName"]: item["containerPath"]
            for item in mocks.resources[name].inputs["volumes"]
        }

    keeper, server = mounted("mail-keeper"), mounted("mail-server")
    assert keeper == {name: path for name, path in server.items() if name in keeper}
    assert len(keeper) == len(sizes)


def test_no_secret_is_in_the_environment_or_the_labels():
    """The output of docker inspect holds no key and no password."""
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
    """The proof expects the first key of the ring."""
    _, found = declare(keys=[{"name": "new"}, {"name": "old"}])
    assert found["target"]["keyIds"] == found["key_ids"]
    assert len(set(found["key_ids"])) == 2


def test_two_servers_fit_into_one_program():
    """The two servers share no resource name."""
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
    """The server joins the network of the settings."""
    mocks, _ = declare(network="shared")
    assert mocks.resources["mail-server"].inputs["networksAdvanced"][0]["name"] == "shared"
    assert "mail-network" not in mocks.resources


def test_a_bind_takes_the_place_of_a_volume():
    """The host's directory is mounted at the volume's path."""
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
    """One error names all of them, and no resource is declared."""
    mocks = use_mocks()
    with pytest.raises(pulumi.RunError, match="2 settings are wrong"):
        MailCryptServer("mail", {**ARGS, "hostname": "x", "deadline": 0})
    assert mocks.resources == {}


def test_a_kernel_without_noswap_gets_plain_tmpfs_volumes(monkeypatch):
    """The volumes then have other names, and the unlock gate refuses a host that has swap."""
    monkeypatch.setattr(Scope, "has_noswap", lambda self: pulumi.Output.from_input(False))
    mocks, _ = declare()
    inputs = mocks.resources["mail-memory-keys"].inputs
    assert inputs["name"] == "mail-test-keys-1m-swappable"
    assert inputs["driverOpts"]["o"] == "size=1m,mode=0700"
