"""Every golden file is loaded by the real Dovecot of its version."""

import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from mailcrypt_component.checks import doveconf
from mailcrypt_component.checks.preflight.configuration import imitate_start_up
from mailcrypt_component.dialects.dialect import Dialect
from mailcrypt_component.docker_api.connect import connect
from mailcrypt_component.docker_api.files import File
from mailcrypt_component.docker_api.run import execute
from mailcrypt_component.docker_api.throwaway import throwaway
from mailcrypt_component.model import dms
from mailcrypt_component.model.docker_host import DockerHost
from mailcrypt_component.model.errors import PreflightError
from mailcrypt_component.model.key_ring import PUBLIC_KEY_PATH, private_path

pytestmark = pytest.mark.server

GOLDEN = Path(__file__).parents[1] / "unit" / "golden"
IMAGES = {Dialect.V2_3: "mailcrypt-dms-dev:12", Dialect.V2_4: "mailcrypt-dms-dev:13"}


def ask(dialect, text, more=(), folder="1-key-memory"):
    """Return a Dovecot's answer about a 10-custom.conf, with the golden files beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    storage = (GOLDEN / f"{dialect.value}-{folder}/99-mailcrypt.conf").read_text()
    files = [
        File(dms.CUSTOM_CONF, text.encode(), mode=0o644),
        File(dms.STORAGE_CONF, storage.encode(), mode=0o644),
        File(PUBLIC_KEY_PATH, public, mode=0o644),
        *(File(private_path(name), pem) for name in ("k1", "k2", "k3")),
    ]
    private = GOLDEN / f"{dialect.value}-{folder}/private.conf"
    if private.exists():
        included = re.search(r"^!include_try (\S+)$", storage, re.MULTILINE)
        files.append(File(included.group(1), private.read_bytes()))
    files += more
    with throwaway(
        connect(DockerHost()), IMAGES[dialect], files=files, purpose="golden"
    ) as container:
        imitate_start_up(container, timeout=30)
        answer = execute(container, doveconf.QUESTION, timeout=30)
        return doveconf.judge(answer, dialect, PreflightError, where="the container")


@pytest.mark.parametrize("path", sorted(GOLDEN.iterdir()), ids=lambda path: path.name)
def test_real_dovecot_loads_the_golden_files(path):
    """mail_crypt is loaded by each protocol, and the version is the dialect's."""
    dialect, _, folder = path.name.partition("-")
    text = (path / "10-custom.conf").read_text()
    assert ask(Dialect(dialect), text, folder=folder).startswith(dialect)


BOTH = tuple(Dialect)


@pytest.mark.parametrize("dialect", Dialect)
def test_a_file_that_dms_makes_at_start_up_is_no_fault(dialect):
    """The genuine image lacks its Diffie-Hellman parameters until it starts."""
    setting = "ssl_dh = <" if dialect is Dialect.V2_3 else "ssl_server_dh_file = "
    dh = File("/etc/dovecot/conf.d/11-dh.conf", f"{setting}/etc/dovecot/dh.pem\n".encode())
    assert ask(dialect, golden(dialect), [dh]).startswith(dialect.value)


SABOTAGE = {
    "nothing loads it": (BOTH, lambda _: "# nothing\n", "not loaded by lmtp, lda, imap, pop3"),
    "the other dialect": (
        BOTH,
        lambda text: golden(Dialect.V2_3 if "2.4" in text else Dialect.V2_4),
        "doveconf -n",
    ),
    "off for imap": (
        (Dialect.V2_3,),
        lambda text: text + "protocol imap {\n  mail_plugins =\n}\n",
        "not loaded by imap",
    ),
    "off for lda": (
        (Dialect.V2_4,),
        lambda text: text + "protocol lda {\n  mail_plugins {\n    mail_crypt = no\n  }\n}\n",
        "not loaded by lda",
    ),
    "no key file": (
        (Dialect.V2_3,),
        lambda text: text.replace("current.pub.pem", "nowhere.pem"),
        "nowhere.pem",
    ),
    "plugin {} in 2.4": (
        (Dialect.V2_4,),
        lambda text: text.replace("crypt_global_public_key_file =", "plugin {\n}\n#"),
        "doveconf -n",
    ),
}
CASES = [
    pytest.param(dialect, spoil, words, id=f"{name}-{dialect.value}")
    for name, (dialects, spoil, words) in SABOTAGE.items()
    for dialect in dialects
]


def golden(dialect):
    return (GOLDEN / f"{dialect.value}-1-key-memory/10-custom.conf").read_text()


@pytest.mark.parametrize(("dialect", "spoil", "words"), CASES)
def test_a_sabotaged_file_is_reported_with_its_cause(dialect, spoil, words):
    """Dovecot's own view of the configuration names the fault."""
    with pytest.raises(PreflightError, match=words):
        ask(dialect, spoil(golden(dialect)))
