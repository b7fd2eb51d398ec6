"""Settings: what is right passes, and every fault is named in one message."""

import pytest

from mailcrypt_component.model.dialects import Dialect
from mailcrypt_component.model.errors import SettingsErrors
from mailcrypt_component.model.settings import PortSettings, TlsMode, read_settings

GOOD = {
    "image": "mailserver/docker-mailserver:16.0",
    "hostname": "mail.example.test",
    "accounts": [{"address": "you@example.test", "password": "x"}],
}


def faults(**changes):
    with pytest.raises(SettingsErrors) as caught:
        read_settings({**GOOD, **changes})
    return [fault.where for fault in caught.value.faults], str(caught.value)


def test_the_least_settings_get_sane_defaults():
    """One key, the standard ports, protection on, the dialect by the tag."""
    settings = read_settings(GOOD)
    assert [key.name for key in settings.keys] == ["k1"]
    assert settings.dialect is Dialect.V2_4
    assert settings.protect
    assert settings.keep_mail
    assert settings.tls.mode is TlsMode.SELF_SIGNED
    assert settings.probe_address == "mailcrypt-probe@example.test"
    assert PortSettings(993, 993, "0.0.0.0") in settings.ports  # noqa: S104


def test_tls_is_left_to_dms_where_its_own_variable_says_how():
    """Without it DMS takes passwords in clear, so that has to be stated."""
    chosen = read_settings({**GOOD, "environment": {"SSL_TYPE": "letsencrypt"}})
    assert chosen.tls.mode is TlsMode.DMS
    assert read_settings({**GOOD, "tls": {"mode": "dms"}}).tls.mode is TlsMode.DMS


def test_an_empty_variable_is_none():
    """As it is to DMS, whose mailserver.env has several."""
    empty = dict.fromkeys(("SMTP_ONLY", "ACCOUNT_PROVISIONER", "POSTFIX_DAGENT", "SSL_TYPE"), "")
    assert read_settings({**GOOD, "environment": empty}).tls.mode is TlsMode.SELF_SIGNED


BAD = {
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
    "port twice": ({"ports": {"imap": 143, "imaps": 143}}, "ports"),
    "relative bind": ({"binds": {"mail": "./mail"}}, "binds.mail"),
    "unknown bind": ({"binds": {"nothing": "/x"}}, "binds.nothing"),
    "bad docker host": ({"dockerHost": "http://x"}, "dockerHost"),
    "deadline 0": ({"deadline": 0}, "deadline"),
    "deadline true": ({"deadline": True}, "deadline"),
    "half a certificate": ({"tls": {"certificate": "x"}}, "tls"),
    "unknown tls mode": ({"tls": {"mode": "none"}}, "tls.mode"),
    "mount over mail": ({"mounts": [{"source": "v", "target": "/var/mail"}]}, "mounts"),
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
    """Nobody has to run it again and again to learn of the next fault."""
    places, message = faults(hostname="x", deadline=-1, imagee="y")
    assert sorted(places) == ["deadline", "hostname", "imagee"]
    assert "3 settings are wrong; nothing was changed" in message


def test_no_message_holds_a_secret():
    """A password that is refused is not repeated."""
    _, message = faults(accounts=[{"address": "a@b.test", "password": "s3cret" * 20}])
    assert "s3cret" not in message
