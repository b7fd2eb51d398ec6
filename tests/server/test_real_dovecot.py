"""Every golden file is loaded by the real Dovecot of its version."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mailcrypt_component.checks import doveconf
from mailcrypt_component.checks.preflight.configuration import imitate_start_up
from mailcrypt_component.docker_api.connect import connect
from mailcrypt_component.docker_api.files import File
from mailcrypt_component.docker_api.run import execute
from mailcrypt_component.docker_api.throwaway import throwaway
from mailcrypt_component.model import dms
from mailcrypt_component.model.dialects import Dialect
from mailcrypt_component.model.docker_host import DockerHost
from mailcrypt_component.model.errors import PreflightError

pytestmark = pytest.mark.server

GOLDEN = Path(__file__).parents[1] / "unit" / "golden"
IMAGES = {Dialect.V2_3: "mailcrypt-dms-dev:12", Dialect.V2_4: "mailcrypt-dms-dev:13"}


def ask(dialect, text, more=()):
    """Return a Dovecot's answer about a 10-custom.conf."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    files = [File(dms.CUSTOM_CONF, text.encode(), mode=0o644)]
    names = ("k1", "k2", "k3", "current.pub")
    files += [File(f"/certs/{name}.pem", pem) for name in names]
    files += more
    with throwaway(
        connect(DockerHost()), IMAGES[dialect], files=files, purpose="golden"
    ) as container:
        imitate_start_up(container, timeout=30)
        answer = execute(container, doveconf.QUESTION, timeout=30)
        return doveconf.judge(answer, dialect, PreflightError, where="the container")


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.conf")), ids=lambda path: path.stem)
def test_real_dovecot_loads_the_golden_file(path):
    """mail_crypt is loaded by each protocol, and the version is the dialect's."""
    dialect = Dialect(path.name[:3])
    assert ask(dialect, path.read_text()).startswith(dialect.value)


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
        lambda text: text.replace("k1.pem", "nowhere.pem"),
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
    return (GOLDEN / f"{dialect.value}-1-keys.conf").read_text()


@pytest.mark.parametrize(("dialect", "spoil", "words"), CASES)
def test_a_sabotaged_file_is_reported_with_its_cause(dialect, spoil, words):
    """Dovecot's own view of the configuration names the fault."""
    with pytest.raises(PreflightError, match=words):
        ask(dialect, spoil(golden(dialect)))
