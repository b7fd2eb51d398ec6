"""A server that was set up by hand, by the seed's page, is taken over with its mail and key."""

import subprocess
import time

import pytest
import yaml

from tests.stacks import MARK, changed

pytestmark = pytest.mark.engine

ADDRESS = "user@example.test"
SEED = """# Enables mail_crypt for all services (imap, pop3, etc)
mail_plugins = $mail_plugins mail_crypt
plugin {
  mail_crypt_global_private_key = </certs/ecprivkey.pem
  mail_crypt_global_public_key = </certs/ecpubkey.pem
  mail_crypt_save_version = 2
}
"""
SEED_2_4 = """mail_plugins {
  mail_crypt = yes
}
crypt_global_public_key_file = /certs/ecpubkey.pem
crypt_global_private_key main {
  crypt_private_key_file = /certs/ecprivkey.pem
}
"""
STORES = {
    "./docker-data/dms/mail-data/": "/var/mail/",
    "./docker-data/dms/mail-state/": "/var/mail-state/",
    "./docker-data/dms/mail-logs/": "/var/log/mail/",
    "./docker-data/dms/config/": "/tmp/docker-mailserver/",
    "./config/dovecot/10-custom.conf": "/etc/dovecot/conf.d/10-custom.conf",
    "./certs/": "/certs",
}
KEYS = """
openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out ecprivkey.pem
openssl ec -in ecprivkey.pem -pubout -out ecpubkey.pem
"""


def shell(script, cwd, stdin=""):
    done = subprocess.run(
        ["sh", "-euc", script], cwd=cwd, input=stdin, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(params=[("12", SEED), ("13", SEED_2_4)], ids=["2.3", "2.4"])
def old(request, tmp_path_factory, clean_engine):
    """A folder laid out by the seed's page, whose server has stored a mail and was stopped."""
    image, conf = request.param
    folder = tmp_path_factory.mktemp("dms")
    for parent in (folder, folder.parent, folder.parent.parent):
        parent.chmod(0o755)
    for source in STORES:
        path = folder / source
        (path if source.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
    (folder / "config/dovecot/10-custom.conf").write_text(conf)
    (folder / "certs").chmod(0o755)
    shell(KEYS, folder / "certs")
    (folder / "mailserver.env").write_text("# a comment\nLOG_LEVEL=debug\nENABLE_CLAMAV=\n")
    service = {
        "image": f"mailcrypt-dms-dev:{image}",
        "container_name": "mailserver",
        "hostname": "mail.example.test",
        "env_file": "mailserver.env",
        "ports": [f"127.0.0.1:214{image}:143"],
        "volumes": [*(f"{source}:{target}" for source, target in STORES.items())],
    }
    (folder / "compose.yaml").write_text(yaml.safe_dump({"services": {"mailserver": service}}))
    name = f"{MARK}-old-{image}"
    mounts = " ".join(f"-v {folder / source}:{target}" for source, target in STORES.items())
    shell(
        f"docker run -d --name {name} --hostname mail.example.test {mounts}"
        f" mailcrypt-dms-dev:{image}",
        folder,
    )
    shell(f"docker exec {name} setup email add {ADDRESS} secret-of-user", folder)
    until = time.monotonic() + 60
    save = ["docker", "exec", "-i", name, "doveadm", "save", "-u", ADDRESS, "-m", "INBOX"]
    mail = b"Subject: old\n\nstored by the old server\n"
    while subprocess.run(save, input=mail, check=False, capture_output=True).returncode:
        assert time.monotonic() < until
        time.sleep(0.3)
    shell(f"docker rm -f {name}", folder)
    return folder, image


def test_mail_and_key_are_kept(old, make_stack):
    """The first up keeps every mail readable, the second changes nothing."""
    folder, image = old
    stack = make_stack(f"adopt{image}")
    # The stack's file as 'pulumi stack init' leaves it.
    stack._file.write_text(stack.head)
    shown = stack.mailcrypt("adopt", str(folder))
    assert shown.returncode == 0, shown.stderr
    assert "nothing was written" in shown.stdout
    assert stack._file.read_text() == stack.head
    done = stack.mailcrypt("adopt", str(folder), "--apply")
    assert done.returncode == 0, done.stderr
    written = stack._file.read_text()
    secret = (folder / "certs/ecprivkey.pem").read_text().splitlines()[1]
    assert secret not in written + done.stdout + shown.stdout
    up = ["up", "--yes", "--skip-preview", "--stack", stack.name]
    stack.pulumi("config", "set", "mailcrypt:protect", "false", "--stack", stack.name, check=True)
    printed = stack.pulumi(*up, check=True).stdout
    assert "1 stored mails are encrypted to the ring" in printed
    assert "mailcrypt-proof: proven" in printed
    assert "stored by the old server" in stack.read_all()
    assert stack.run(f"doveadm auth test {ADDRESS} secret-of-user")
    assert changed(stack.pulumi(*up, check=True).stdout) == set()
    assert secret not in stack.state()
