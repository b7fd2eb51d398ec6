"""What can be wrong with a set-up that was made by hand."""

import pytest
import yaml

from mailcrypt_component.adopt.compose import read_setup
from mailcrypt_component.model.errors import MailCryptError
from tests.store import Key

KEYS = [Key(), Key()]
CONF = """mail_plugins = $mail_plugins mail_crypt
plugin {
  mail_crypt_global_private_key = </certs/a.pem
  mail_crypt_global_private_key2 = </certs/b.pem
  mail_crypt_global_public_key = </certs/pub.pem
  mail_crypt_save_version = 2
}
"""


@pytest.fixture
def setup(tmp_path):
    """Two keys of which the second is current, as nobody should have it, but may."""
    for folder in ("certs", "config", "mail"):
        (tmp_path / folder).mkdir()
    (tmp_path / "certs/a.pem").write_text(KEYS[0].pem)
    (tmp_path / "certs/b.pem").write_text(KEYS[1].pem)
    (tmp_path / "certs/pub.pem").write_text(KEYS[1].public_pem)
    (tmp_path / "10-custom.conf").write_text(CONF)
    (tmp_path / "config/postfix-accounts.cf").write_text("a@example.test|{SHA512-CRYPT}$6$x\n")
    return tmp_path


def compose(folder, **changes):
    service = {
        "image": "mailserver/docker-mailserver:15.1.0",
        "hostname": "mail",
        "domainname": "example.test",
        "environment": ["LOG_LEVEL=debug", "EMPTY="],
        "ports": ["25:25", "127.0.0.1:8143:143/tcp", {"target": 4190, "published": 4190}],
        "volumes": [
            "./mail:/var/mail",
            {"type": "bind", "source": "./config", "target": "/tmp/docker-mailserver/"},
            "./10-custom.conf:/etc/dovecot/conf.d/10-custom.conf:ro",
            "./certs:/certs",
            "/etc/localtime:/etc/localtime:ro",
        ],
        **changes,
    }
    (folder / "docker-compose.yml").write_text(yaml.safe_dump({"services": {"m": service}}))


def test_everything_is_found_and_the_current_key_comes_first(setup):
    """The order of the file does not matter, the public key does."""
    compose(setup)
    found = read_setup(setup)
    assert [(key.name, key.key_id) for key in found.keys] == [
        ("k2", KEYS[1].id),
        ("k1", KEYS[0].id),
    ]
    assert found.settings == {
        "image": "mailserver/docker-mailserver:15.1.0",
        "hostname": "mail.example.test",
        "probeAddress": "mailcrypt-probe@example.test",
        "binds": {"mail": str(setup / "mail"), "config": str(setup / "config")},
        "ports": {"smtp": "25", "imap": "127.0.0.1:8143", "4190": "4190"},
        "environment": {"LOG_LEVEL": "debug"},
        "mounts": [{"source": "/etc/localtime", "target": "/etc/localtime", "readOnly": True}],
    }


def without(name):
    return lambda folder: (folder / name).unlink()


def rewritten(name, text):
    return lambda folder: (folder / name).write_text(text)


FAULTS = {
    "no compose file": (without("docker-compose.yml"), "no compose file"),
    "not yaml": (rewritten("docker-compose.yml", "]["), "not a compose file"),
    "no mail_crypt": (rewritten("docker-compose.yml", "services: {}"), "0 services mount"),
    "no key": (without("certs/a.pem"), "a.pem: No such file"),
    "not a key": (rewritten("certs/a.pem", "x"), "not a private key"),
    "foreign public key": (rewritten("certs/pub.pem", Key().public_pem), "the public key has"),
    "no public key": (rewritten("certs/pub.pem", "x"), "not a public key"),
    "no account": (rewritten("config/postfix-accounts.cf", ""), "no account"),
}


@pytest.mark.parametrize(("spoil", "words"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_one_clear_error(setup, spoil, words):
    """It names the file and what was expected."""
    compose(setup)
    spoil(setup)
    with pytest.raises(MailCryptError, match=words) as caught:
        read_setup(setup)
    assert "expected:" in str(caught.value)


def test_a_named_volume_is_refused_with_the_way_out(setup):
    """Its mail is not left behind in silence."""
    volumes = ["data:/var/mail", "./config:/tmp/docker-mailserver", "./certs:/certs"]
    compose(setup, volumes=[*volumes, "./10-custom.conf:/etc/dovecot/conf.d/10-custom.conf"])
    with pytest.raises(MailCryptError, match="the named volume data"):
        read_setup(setup)


def test_lines_that_are_not_taken_over_are_named(setup):
    """The compiled configuration says mail_crypt's settings and nothing else."""
    compose(setup)
    (setup / "10-custom.conf").write_text(CONF + "mail_max_userip_connections = 50\n")
    assert any("mail_max_userip_connections" in note for note in read_setup(setup).notes)
