"""The settings: valid ones pass, and one message names every fault."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from mailcrypt_component.dialects.dialect import Dialect
from mailcrypt_component.model.custody import Custody, IndexCache, Queue
from mailcrypt_component.model.errors import SettingsErrors
from mailcrypt_component.model.read_settings import read_settings
from mailcrypt_component.model.settings import PortSettings, TlsMode

GOOD = {
    "image": "mailserver/docker-mailserver:16.0",
    "hostname": "mail.example.test",
    "accounts": [{"address": "you@example.test", "password": "x"}],
}


def private_pem(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_pem(key):
    public = key.public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


EC = ec.generate_private_key(ec.SECP256R1())
PUBLIC = public_pem(EC)


def faults(**changes):
    with pytest.raises(SettingsErrors) as caught:
        read_settings({**GOOD, **changes})
    return [fault.where for fault in caught.value.faults], str(caught.value)


def test_minimal_settings_get_defaults():
    """The defaults are one key, the standard ports, protection, and the dialect of the tag."""
    settings = read_settings(GOOD)
    assert [key.name for key in settings.keys] == ["k1"]
    assert settings.dialect is Dialect.V2_4
    assert settings.protect
    assert settings.keep_mail
    assert settings.tls.mode is TlsMode.SELF_SIGNED
    assert settings.probe_address == "mailcrypt-probe@example.test"
    assert PortSettings(993, 993, "0.0.0.0") in settings.ports


def test_tls_is_left_to_dms_if_its_own_variable_is_set():
    """Without the variable DMS accepts passwords in clear, so it has to be stated."""
    chosen = read_settings({**GOOD, "environment": {"SSL_TYPE": "letsencrypt"}})
    assert chosen.tls.mode is TlsMode.DMS
    assert read_settings({**GOOD, "tls": {"mode": "dms"}}).tls.mode is TlsMode.DMS


def test_an_empty_variable_counts_as_not_set():
    """DMS treats it so, and its mailserver.env has several empty ones."""
    empty = dict.fromkeys(("SMTP_ONLY", "ACCOUNT_PROVISIONER", "POSTFIX_DAGENT", "SSL_TYPE"), "")
    assert read_settings({**GOOD, "environment": empty}).tls.mode is TlsMode.SELF_SIGNED


def test_stores_with_text_of_mails_are_in_memory_by_default_except_for_the_queue():
    """The queue is a choice, because losing it loses mail."""
    settings = read_settings(GOOD)
    assert (settings.key_custody, settings.index_cache, settings.queue) == (
        Custody.MEMORY,
        IndexCache.MEMORY,
        Queue.DISK,
    )
    assert settings.index_cache_size == settings.queue_size == 256
    assert settings.adopt_mail is None


def test_custody_and_stores_in_memory_can_be_chosen():
    """Each choice becomes a member of its enumeration, with its size."""
    settings = read_settings(
        {
            **GOOD,
            "keyCustody": "disk",
            "indexCache": "disk",
            "queue": "memory",
            "queueSize": 64,
            "binds": {"certs": "/srv/certs"},
        }
    )
    assert (settings.key_custody, settings.index_cache) == (Custody.DISK, IndexCache.DISK)
    assert (settings.queue, settings.queue_size) == (Queue.MEMORY, 64)


def test_a_ring_may_hold_public_keys_only():
    """The settings then hold no private key at all."""
    keys = read_settings({**GOOD, "keys": [{"name": "k1", "publicPem": PUBLIC}]}).keys
    assert [(key.pem, key.public_pem) for key in keys] == [(None, PUBLIC)]


@pytest.mark.parametrize("value", ["unmarked", "0123456789abcdef"])
def test_a_mail_store_is_taken_over_by_its_mark(value):
    """The value is a mark as preflight prints it, or states that there is none."""
    assert read_settings({**GOOD, "adoptMail": value}).adopt_mail == value


class Later:
    """Stands for a value that Pulumi resolves later."""


def test_a_value_that_is_not_resolved_yet_passes_through():
    """The value of another resource is checked once it is known."""
    later = Later()
    args = {
        **GOOD,
        "image": later,
        "hostname": later,
        "dockerHost": later,
        "environment": {"ENABLE_IMAP": later},
        "binds": {"mail": later},
        "ports": {"imap": [later, 143]},
        "mounts": [{"source": later, "target": "/srv"}],
    }
    settings = read_settings(args, unresolved=(Later,))
    assert settings.image is settings.hostname is settings.docker_host is later
    assert settings.environment == {"ENABLE_IMAP": later}
    assert settings.binds == {"mail": later}
    assert [port.external for port in settings.ports] == [143, 143]
    assert settings.mounts[0].source is later


def test_a_value_of_a_strange_type_is_refused_unless_it_is_declared_as_unresolved():
    """Only the types that the caller names pass unchecked."""
    assert faults(image=Later(), hostname=Later())[0] == ["image", "hostname"]


def test_a_service_has_any_number_of_bindings():
    """A binding has an IPv4 or IPv6 address; a plain number means all addresses, as with Docker."""
    ports = read_settings({**GOOD, "ports": {"smtp": [25, "[::1]:2525", "127.0.0.1:2525"]}}).ports
    assert [port.binding for port in ports] == [
        "0.0.0.0:25",
        "[::]:25",
        "[::1]:2525",
        "127.0.0.1:2525",
    ]
    assert {port.internal for port in ports} == {25}


BAD = {
    "host network": ({"network": "host"}, "network"),
    "network that is no name": ({"network": "my net"}, "network"),
    "a value that stops docker-mailserver": (
        {"environment": {"LOGROTATE_INTERVAL": "yearly"}},
        "environment.LOGROTATE_INTERVAL",
    ),
    "unknown SSL_TYPE": ({"environment": {"SSL_TYPE": "letsencypt"}}, "environment.SSL_TYPE"),
    "mail store of a strange name": ({"adoptMail": "prod"}, "adoptMail"),
    "unknown custody": ({"keyCustody": "ram"}, "keyCustody"),
    "certs on the disk with keys in memory": ({"binds": {"certs": "/srv/certs"}}, "binds.certs"),
    "unknown place of the index cache": ({"indexCache": "tmpfs"}, "indexCache"),
    "an index cache of 0 MiB": ({"indexCacheSize": 0}, "indexCacheSize"),
    "a queue that Postfix would never use": ({"queue": "memory", "queueSize": 19}, "queueSize"),
    "a queue too small for the largest mail": (
        {"queue": "memory", "environment": {"POSTFIX_MESSAGE_SIZE_LIMIT": "200000000"}},
        "queueSize",
    ),
    "pem and publicPem": (
        {"keys": [{"name": "k1", "pem": private_pem(EC), "publicPem": PUBLIC}]},
        "keys[0]",
    ),
    "a ring that is public in part": (
        {"keys": [{"name": "k2", "publicPem": PUBLIC}, {"name": "k1"}]},
        "keys",
    ),
    "public keys with custody disk": (
        {"keyCustody": "disk", "keys": [{"name": "k1", "publicPem": PUBLIC}]},
        "keyCustody",
    ),
    "a private key as publicPem": (
        {"keys": [{"name": "k1", "publicPem": private_pem(EC)}]},
        "keys[k1].publicPem",
    ),
    "a public RSA key": (
        {
            "keys": [
                {"name": "k1", "publicPem": public_pem(rsa.generate_private_key(65537, 2048))},
            ]
        },
        "keys[k1].publicPem",
    ),
    "a damaged public key": (
        {"keys": [{"name": "k1", "publicPem": PUBLIC.replace("M", "!", 1)}]},
        "keys[k1].publicPem",
    ),
    "an empty publicPem": ({"keys": [{"name": "k1", "publicPem": ""}]}, "keys[k1].publicPem"),
    "readOnly as a text": (
        {"mounts": [{"source": "v", "target": "/x", "readOnly": "no"}]},
        "mounts[0].readOnly",
    ),
    "count deadline 0": ({"countDeadline": 0}, "countDeadline"),
    "IPv6 without brackets": ({"ports": {"imap": "::1:143"}}, "ports.imap"),
    "no IMAP": ({"environment": {"ENABLE_IMAP": 0}}, "environment.ENABLE_IMAP"),
    "LDAP": ({"environment": {"ACCOUNT_PROVISIONER": "LDAP"}}, "environment.ACCOUNT_PROVISIONER"),
    "no image": ({"image": ""}, "image"),
    "IPv6 alone": (
        {"environment": {"DOVECOT_INET_PROTOCOLS": "ipv6"}},
        "environment.DOVECOT_INET_PROTOCOLS",
    ),
    "another delivery agent": (
        {"environment": {"POSTFIX_DAGENT": "lmtp:elsewhere:24"}},
        "environment.POSTFIX_DAGENT",
    ),
    "a grace that the provider cuts off": ({"stopGrace": 1200}, "stopGrace"),
    "half an image id": ({"image": "sha256:0123456789ab"}, "image"),
    "bad hostname": ({"hostname": "mail"}, "hostname"),
    "hostname with space": ({"hostname": "ma il.example.test"}, "hostname"),
    "unknown dialect": ({"dialect": "2.5"}, "dialect"),
    "contradicting dialect": ({"dialect": "2.3"}, "dialect"),
    "unknown setting": ({"imagee": "x"}, "imagee"),
    "unknown field": ({"keys": [{"name": "k1", "pen": "x"}]}, "keys[0].pen"),
    "empty ring": ({"keys": []}, "keys"),
    "duplicate key": ({"keys": [{"name": "k1"}, {"name": "k1"}]}, "keys"),
    "bad key name": ({"keys": [{"name": "../k"}]}, "keys[0].name"),
    "bad curve": ({"keys": [{"name": "k1", "curve": "P224"}]}, "keys[0].curve"),
    "empty pem": ({"keys": [{"name": "k1", "pem": ""}]}, "keys[k1].pem"),
    "no account": ({"accounts": []}, "accounts"),
    "bad address": ({"accounts": [{"address": "you"}]}, "accounts[0].address"),
    "duplicate account": (
        {"accounts": [{"address": "a@example.test"}, {"address": "A@example.test"}]},
        "accounts",
    ),
    "both secrets": (
        {"accounts": [{"address": "a@b.test", "password": "x", "passwordHash": "{X}y"}]},
        "accounts[0]",
    ),
    "long password": (
        {"accounts": [{"address": "a@b.test", "password": "x" * 73}]},
        "accounts[0].password",
    ),
    "no hash": (
        {"accounts": [{"address": "a@b.test", "passwordHash": "secret"}]},
        "accounts[0].passwordHash",
    ),
    "probe is an account": ({"probeAddress": "you@example.test"}, "probeAddress"),
    "port 0": ({"ports": {"imap": 0}}, "ports.imap"),
    "port too high": ({"ports": {"imap": 65536}}, "ports.imap"),
    "unknown service": ({"ports": {"gopher": 70}}, "ports.gopher"),
    "bad port address": ({"ports": {"imap": "host:143"}}, "ports.imap"),
    "port twice": ({"ports": {"imap": "0.0.0.0:143", "imaps": "0.0.0.0:143"}}, "ports"),
    "a bad port in a list": ({"ports": {"imap": [143, "x"]}}, "ports.imap"),
    "relative bind": ({"binds": {"mail": "./mail"}}, "binds.mail"),
    "certs in a volume": ({"binds": {"certs": "v"}, "keyCustody": "disk"}, "binds.certs"),
    "unknown bind": ({"binds": {"nothing": "/x"}}, "binds.nothing"),
    "bad docker host": ({"dockerHost": "http://x"}, "dockerHost"),
    "deadline 0": ({"deadline": 0}, "deadline"),
    "deadline true": ({"deadline": True}, "deadline"),
    "half a certificate": ({"tls": {"certificate": "x"}}, "tls"),
    "unknown tls mode": ({"tls": {"mode": "none"}}, "tls.mode"),
    "mount over mail": (
        {"mounts": [{"source": "v", "target": "/var/mail"}]},
        "mounts[0].target",
    ),
    "a mount below the keys in memory": (
        {"mounts": [{"source": "v", "target": "/certs/tls.pem"}]},
        "mounts[0].target",
    ),
    "a mount over memory": (
        {"mounts": [{"source": "v", "target": "/tmp"}]},
        "mounts[0].target",
    ),
    "two mounts at one path": (
        {"mounts": [{"source": "v", "target": "/x"}, {"source": "w", "target": "/x/"}]},
        "mounts[1].target",
    ),
    "environment list": ({"environment": {"A": []}}, "environment.A"),
    "protect text": ({"protect": "yes"}, "protect"),
}


@pytest.mark.parametrize(("change", "where"), BAD.values(), ids=BAD.keys())
def test_a_bad_setting_is_named(change, where):
    """The message names the setting and what was expected."""
    places, message = faults(**change)
    assert places == [where]
    assert "expected:" in message


def test_all_faults_come_in_one_message():
    """A user does not have to run it again to learn of the next fault."""
    places, message = faults(hostname="x", deadline=-1, imagee="y")
    assert sorted(places) == ["deadline", "hostname", "imagee"]
    assert "3 settings are wrong; nothing was changed" in message


def test_no_message_holds_a_secret():
    """A refused password is not repeated."""
    _, message = faults(accounts=[{"address": "a@b.test", "password": "s3cret" * 20}])
    assert "s3cret" not in message
