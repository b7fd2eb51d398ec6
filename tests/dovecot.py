"""Runs real Dovecots without a server, which write single mails for the tests of the format."""

import contextlib
from collections.abc import Iterator, Sequence

from docker.models.containers import Container

from mailcrypt_component.checks.preflight.configuration import imitate_start_up
from mailcrypt_component.dialects.compiler import render
from mailcrypt_component.dialects.dialect import CryptModel, Dialect, KeyFiles
from mailcrypt_component.docker_api.connect import connect
from mailcrypt_component.docker_api.files import File
from mailcrypt_component.docker_api.run import execute
from mailcrypt_component.docker_api.throwaway import throwaway
from mailcrypt_component.model import dms
from mailcrypt_component.model.docker_host import DockerHost

IMAGES = {Dialect.V2_3: "mailcrypt-dms-dev:12", Dialect.V2_4: "mailcrypt-dms-dev:13"}
COMPRESSIONS = {
    Dialect.V2_3: ("gz", "bz2", "zstd", "lz4"),
    Dialect.V2_4: ("gz", "bz2", "zstd", "lz4"),
}
_EXTRA = {
    Dialect.V2_3: "mail_plugins = $mail_plugins zlib\nmail_location = maildir:/tmp/mail\n"
    "mail_uid = docker\nmail_gid = docker\n",
    Dialect.V2_4: "mail_plugins {\n  mail_compress = yes\n}\n"
    "mail_driver = maildir\nmail_path = /tmp/mail\n"
    "mail_uid = docker\nmail_gid = docker\n",
}
_NOBODY = {Dialect.V2_3: "", Dialect.V2_4: "--no-userdb-lookup"}
_COMPRESS = {
    Dialect.V2_3: lambda method: f"plugin/zlib_save={method}",
    Dialect.V2_4: lambda method: f"mail_compress_write_method={method}",
}


class Dovecot:
    """One Dovecot in a container."""

    def __init__(self, container: Container, dialect: Dialect) -> None:
        self._container, self._dialect = container, dialect

    def run(self, script: str, stdin: bytes = b"") -> bytes:
        done = execute(self._container, ["sh", "-euc", script], stdin=stdin, timeout=120)
        assert done.exit_code == 0, done.stderr.decode()[-600:]
        return done.stdout

    def write(
        self, mail: bytes, compression: str | None = None, options: Sequence[str] = ()
    ) -> bytes:
        """Return the file that this Dovecot stores for a mail."""
        chosen = [_COMPRESS[self._dialect](compression)] if compression else []
        flags = " ".join(f"-o {option}" for option in (*chosen, *options))
        return self.run(
            "rm -rf /tmp/mail; export HOME=/tmp USER=root; cat > /tmp/plain;"
            f" doveadm {flags} save {_NOBODY[self._dialect]} -m INBOX < /tmp/plain >&2;"
            " cat /tmp/mail/new/* /tmp/mail/cur/* 2>/dev/null || true",
            stdin=mail,
        )

    def read(self, encrypted: bytes) -> bytes:
        """Return the mail that this Dovecot finds in a file of a maildir."""
        return self.run(
            "rm -rf /tmp/mail; mkdir -p /tmp/mail/cur /tmp/mail/new /tmp/mail/tmp;"
            " cat > '/tmp/mail/cur/1.a.b:2,S'; chown -R docker:docker /tmp/mail;"
            " export HOME=/tmp USER=root;"
            f" doveadm fetch {_NOBODY[self._dialect]} text mailbox INBOX | tail -n +2",
            stdin=encrypted,
        )


@contextlib.contextmanager
def dovecot(
    dialect: Dialect, pem: bytes, public_pem: bytes, retired: Sequence[bytes] = ()
) -> Iterator[Dovecot]:
    """Run the Dovecot of a dialect with a current key, and any number of retired ones."""
    pems = {f"k{number}": key for number, key in enumerate((pem, *retired))}
    key_files = tuple(KeyFiles(name, f"/certs/{name}.pem") for name in pems)
    model = CryptModel(key_files, "/certs/current.pub.pem")
    files = [
        File(dms.CUSTOM_CONF, render(model, dialect).crypt.encode(), mode=0o644),
        File("/etc/dovecot/local.conf", _EXTRA[dialect].encode(), mode=0o644),
        *(File(f"/certs/{name}.pem", key) for name, key in pems.items()),
        File("/certs/current.pub.pem", public_pem, mode=0o644),
    ]
    with throwaway(
        connect(DockerHost()), IMAGES[dialect], files=files, purpose="writer"
    ) as container:
        imitate_start_up(container, timeout=30)
        yield Dovecot(container, dialect)
