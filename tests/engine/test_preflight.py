"""What would not work never touches the running server, on the real engine."""

import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.stacks import MARK

pytestmark = pytest.mark.engine

HOST = "mail.example.test"
BODY = "stored before every edit"


def pair(*, days=30, hostname=HOST):
    """Return a self-signed certificate that ends in so many days, and its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, hostname)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return certificate.public_bytes(Encoding.PEM).decode(), pem


def provided(certificate, key):
    return {"tls": {"mode": "provided", "certificate": certificate, "privateKey": key}}


@pytest.fixture(scope="module")
def stack(make_stack):
    """A server with one stored mail, whose key ring can be changed."""
    stack = make_stack(
        "preflight",
        image="mailcrypt-dms-dev:13",
        dialect="2.4",
        ports={"imap": "127.0.0.1:21441"},
        tls={"mode": "self-signed"},
    )
    stack.green()
    stack.save(BODY)
    return stack


@pytest.fixture(scope="module")
def taken():
    """A container that holds a port of the host."""
    name = f"{MARK}-preflight-taken"
    run = ["docker", "run", "-d", "--name", name, "-p", "127.0.0.1:21442:1", "--entrypoint"]
    subprocess.run([*run, "sleep", "mailcrypt-dms-dev:13", "600"], check=True, capture_output=True)
    yield
    subprocess.run(["docker", "rm", "-f", name], check=True, capture_output=True)


REFUSED = {
    "a typo in network": ({"network": "webmial"}, "network: the network webmial does not exist"),
    "a mount of a missing path": (
        {"mounts": [{"source": "/nowhere/rules", "target": "/srv/rules"}]},
        "mounts[0].source: /nowhere/rules does not exist on the Docker host",
    ),
    "a mount of a missing volume": (
        {"mounts": [{"source": "no-such-volume", "target": "/srv/rules"}]},
        "mounts[0].source: the volume no-such-volume does not exist",
    ),
    "a bind of a missing path": (
        {"binds": {"logs": "/nowhere/logs"}},
        "binds.logs: /nowhere/logs does not exist on the Docker host",
    ),
    "a host name that is longer than the kernel allows": (
        {"hostname": f"{'m' * 60}.example.test"},
        "hostname",
    ),
    "a port that another container holds": (
        {"ports": {"imap": "127.0.0.1:21442"}},
        "ports 127.0.0.1:21442: ",
    ),
    "letsencrypt without certificates": (
        {"environment": {"SSL_TYPE": "letsencrypt"}, "tls": {"mode": "dms"}},
        f"/etc/letsencrypt/live/{HOST}/fullchain.pem",
    ),
    "SSL_TYPE manual without files": (
        {"environment": {"SSL_TYPE": "manual", "SSL_KEY_PATH": "/x/key"}, "tls": {"mode": "dms"}},
        "docker-mailserver would stop when it starts: /x/key",
    ),
    "SSL_TYPE self-signed without files": (
        {"environment": {"SSL_TYPE": "self-signed"}, "tls": {"mode": "dms"}},
        f"/tmp/docker-mailserver/ssl/{HOST}-cert.pem",
    ),
    "SSL_TYPE custom without a file": (
        {"environment": {"SSL_TYPE": "custom"}, "tls": {"mode": "dms"}},
        f"/tmp/docker-mailserver/ssl/{HOST}-full.pem",
    ),
    "a certificate with another key": (
        provided(pair()[0], pair()[1]),
        "tls: the private key does not belong to the first certificate of the chain",
    ),
    "a certificate that has expired": (
        provided(*pair(days=-1)),
        "tls.certificate: a certificate that is valid from",
    ),
    "a key under which mail is stored": (
        {"keys": [{"name": "k2"}]},
        "1 mail is encrypted to key",
    ),
    "a made key that is replaced by another PEM": (
        {"keys": [{"name": "k1", "pem": pair()[1]}]},
        "1 mail is encrypted to key",
    ),
}


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_would_not_work_leaves_the_server_running(stack, taken, change, words):
    """Preflight names the setting and the next command; the same container goes on."""
    before, settings = stack.container_id(), dict(stack.config)
    printed = stack.red(**change)
    stack.config = settings
    assert words in printed
    assert "expected: " in printed
    assert "hint: " in printed
    assert stack.container_id() == before
    assert BODY in stack.read_all()


def test_mail_is_not_left_behind_in_another_store(stack, tmp_path):
    """An empty store is refused, a copy with its mark is taken, and so is the way back."""
    tmp_path.chmod(0o755)
    new = tmp_path / "mail"
    new.mkdir()
    before, settings = stack.container_id(), dict(stack.config)
    printed = stack.red(binds={"mail": str(new)})
    assert "in the former mail store" in printed
    assert stack.container_id() == before
    stack.docker(
        "run", "--rm", "--entrypoint", "cp", "-v", f"{stack.container}-mail:/from:ro",
        "-v", f"{new}:/to", "mailcrypt-dms-dev:13", "-a", "/from/.", "/to/",
    )  # fmt: skip
    stack.green(binds={"mail": str(new)})
    assert BODY in stack.read_all()
    stack.config = settings
    stack.green()
    assert BODY in stack.read_all()
    stack.docker(
        "run", "--rm", "--entrypoint", "sh", "-v", f"{tmp_path}:/tmp/old",
        "mailcrypt-dms-dev:13", "-c", "rm -rf /tmp/old/mail",
    )  # fmt: skip


def test_our_own_ports_are_not_taken(stack):
    """All addresses instead of one, in both families, while the running server holds the port."""
    stack.green(ports={"imap": [21441, "127.0.0.1:21443", "[::1]:21443"]})
    shown = stack.docker("port", stack.container, "143/tcp").split()
    assert set(shown) == {"0.0.0.0:21441", "[::]:21441", "127.0.0.1:21443", "[::1]:21443"}
    assert "unchanged" in stack.green()
    stack.green(ports={"imap": "127.0.0.1:21441"})


def test_stored_mail_is_counted_only_if_keys_or_store_change(stack):
    """A large store is not read again for the sake of a variable."""
    printed = stack.green(environment={"ENABLE_CLAMVA": "0"})
    assert "stored mail was not counted again" in printed
    assert "ENABLE_CLAMVA: docker-mailserver has no such variable" in printed
    assert "did you mean ENABLE_CLAMAV?" in printed
    printed = stack.green(environment={}, keys=[{"name": "k2"}, {"name": "k1"}])
    assert "1 mail is encrypted to the ring" in printed


def test_a_second_stack_of_the_same_name_is_refused(stack, make_stack):
    """Its volumes are never the first one's, so its destruction removes nothing."""
    second = make_stack(stack.name.removeprefix(f"{MARK}-"), image="mailcrypt-dms-dev:13")
    before = stack.container_id()
    printed = second.red()
    assert "belongs to another stack of the same name" in printed
    second.destroy()
    assert stack.container_id() == before
    assert "unchanged" in stack.green()
    assert BODY in stack.read_all()


def test_a_store_of_another_stack_is_taken_over_only_by_its_mark(stack, make_stack, tmp_path):
    """The refusal prints the command that adopts the store."""
    tmp_path.chmod(0o755)
    store = tmp_path / "mail"
    store.mkdir()
    (store / ".mailcrypt-volume").write_text(
        '{"format": 1, "identity": "00112233aabbccdd", "stack": "elsewhere"}'
    )
    other = make_stack("preflight2", image="mailcrypt-dms-dev:12", binds={"mail": str(store)})
    printed = other.red()
    assert "belongs to the stack elsewhere (mark 00112233aabbccdd)" in printed
    assert "pulumi config set mailcrypt:adoptMail 00112233aabbccdd" in printed
    other.green(adoptMail="00112233aabbccdd")
    assert "unchanged" in other.green()
    other.docker("rm", "-f", other.container)
    subprocess.run(
        ["docker", "run", "--rm", "--entrypoint", "sh", "-v", f"{tmp_path}:/tmp/old",
         "mailcrypt-dms-dev:13", "-c", "rm -rf /tmp/old/mail"], check=True,
    )  # fmt: skip


def test_a_renamed_stack_keeps_its_mail(stack):
    """The volumes keep their names; only the container gets the new one."""
    stack.pulumi("stack", "rename", f"{stack.name}-new", "--stack", stack.name, check=True)
    stack.name = f"{stack.name}-new"
    stack.green()
    assert BODY in stack.read_all()
