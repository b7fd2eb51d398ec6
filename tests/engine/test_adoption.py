"""A server that was set up by hand is taken over with its mail, keys and other settings.

The commands that ``mailcrypt adopt`` prints are run as they are printed.
"""

import re
import subprocess
import time
from dataclasses import dataclass, field

import pytest
import yaml

from tests.stacks import MARK, changed

pytestmark = pytest.mark.engine

ADDRESS = "user@example.test"
PASSWORD = "s3cret-of-the-relay"
CONF_2_3 = """# Enables mail_crypt for all services (imap, pop3, etc)
mail_plugins = $mail_plugins zlib mail_crypt
plugin {
  zlib_save = gz
  mail_crypt_global_private_key = </certs/ecprivkey.pem
  mail_crypt_global_public_key = </certs/ecpubkey.pem
  mail_crypt_save_version = 2
}
"""
CONF_2_4 = """mail_plugins {
  mail_compress = yes
  mail_crypt = yes
}
mail_compress_write_method = gz
crypt_global_public_key_file = /certs/ecpubkey.pem
crypt_global_private_key main {
  crypt_private_key_file = /certs/ecprivkey.pem
}
"""
KEYS = """
openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out ecprivkey.pem
openssl ec -in ecprivkey.pem -pubout -out ecpubkey.pem
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=mail.example.test -days 9 \
  -keyout tls.key -out tls.pem
"""


@dataclass
class Old:
    """A set-up made by hand: its folder, image, mounts as in the compose file, container."""

    folder: object
    image: str
    container: str
    stores: dict
    volumes: dict = field(default_factory=dict)

    def mounts(self):
        """Return the mounts as docker run takes them."""
        for source, target in self.stores.items():
            real = self.volumes.get(source) or self.folder / source
            yield from ("-v", f"{real}:{target}")


def shell(script, cwd=None, stdin=""):
    done = subprocess.run(
        ["sh", "-euc", script], cwd=cwd, input=stdin, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def by_the_page(folder):
    """The seed's page: folders of the host, mail_crypt in 10-custom.conf, TLS files beside."""
    (folder / "10-custom.conf").write_text(CONF_2_3)
    stores = {
        "./mail-data/": "/var/mail/",
        "./config/": "/tmp/docker-mailserver/",
        "./10-custom.conf": "/etc/dovecot/conf.d/10-custom.conf",
        "./certs/": "/certs",
    }
    return Old(folder, "mailcrypt-dms-dev:12", f"{MARK}-old-12", stores)


def with_volumes(folder):
    """Mail in a volume of the project, mail_crypt in dovecot.cf."""
    (folder / "config/dovecot.cf").write_text(CONF_2_4)
    stores = {
        "maildata": "/var/mail/",
        "./config/": "/tmp/docker-mailserver/",
        "./certs/": "/certs",
    }
    volumes = {"maildata": f"{MARK}-old_maildata"}
    return Old(folder, "mailcrypt-dms-dev:13", f"{MARK}-old-13", stores, volumes)


@pytest.fixture(
    params=[
        pytest.param(by_the_page, id="2.3", marks=pytest.mark.long),
        pytest.param(with_volumes, id="2.4", marks=pytest.mark.long),
    ]
)
def old(request, tmp_path_factory, clean_engine):
    """An old server that runs, has restart: always, and has stored a mail."""
    folder = tmp_path_factory.mktemp("dms")
    for parent in (folder, folder.parent, folder.parent.parent):
        parent.chmod(0o755)
    for name in ("certs", "config", "mail-data"):
        (folder / name).mkdir()
    shell(KEYS, folder / "certs")
    found = request.param(folder)
    write_compose(found)
    start(found)
    yield found
    subprocess.run(["docker", "rm", "-f", found.container], check=False, capture_output=True)
    for volume in found.volumes.values():
        subprocess.run(["docker", "volume", "rm", "-f", volume], check=False, capture_output=True)


def write_compose(old):
    (old.folder / "mailserver.env").write_text(
        f"# a comment\nLOG_LEVEL=debug # inline\nENABLE_CLAMAV=\nSSL_TYPE='manual'\n"
        f'SSL_CERT_PATH=/certs/tls.pem\nSSL_KEY_PATH=/certs/tls.key\nRELAY_PASSWORD="{PASSWORD}"\n'
        "A_TOKEN=00123\nB_TOKEN=123\nC_TOKEN=true\nD_TOKEN={}\n"
    )
    service = {
        "image": old.image,
        "container_name": old.container,
        "hostname": "mail.example.test",
        "env_file": "mailserver.env",
        "restart": "always",
        "volumes": [f"{source}:{target}" for source, target in old.stores.items()],
    }
    project = {"name": f"{MARK}-old", "services": {"mailserver": service}}
    project["volumes"] = dict.fromkeys(old.volumes)
    text = yaml.safe_dump(project)
    port = f"127.0.0.1:{old.image[-2:]}25:25"
    text = text.replace("    restart:", f"    ports:\n    - {port}\n    restart:")
    (old.folder / "compose.yaml").write_text(text)


def start(old):
    """Start it as docker compose up would, and store a mail through Dovecot."""
    argv = ["docker", "run", "-d", "--name", old.container, "--restart", "always"]
    argv += ["--hostname", "mail.example.test", "--env-file", "/dev/stdin", *old.mounts()]
    environment = "SSL_TYPE=manual\nSSL_CERT_PATH=/certs/tls.pem\nSSL_KEY_PATH=/certs/tls.key\n"
    subprocess.run([*argv, old.image], input=environment, text=True, check=True)
    shell(f"docker exec {old.container} setup email add {ADDRESS} secret-of-user")
    until = time.monotonic() + 60
    save = ["docker", "exec", "-i", old.container]
    save += ["doveadm", "save", "-u", ADDRESS, "-m", "INBOX"]
    mail = b"Subject: old\n\nstored by the old server\n" + b"again and again\n" * 2000
    while subprocess.run(save, input=mail, check=False, capture_output=True).returncode:
        assert time.monotonic() < until
        time.sleep(0.3)
    size = shell(f"docker exec {old.container} find /var/mail -name '*,S=*' -printf %s")
    assert int(size) < 3000, "the old server compresses what it stores"


def steps_of(printed):
    """Return the commands that are printed to go on with."""
    tail = printed.partition("go on with\n")[2]
    return [
        line.strip() for line in tail.splitlines() if line.startswith("  ") and "  #" not in line
    ]


def test_mail_keys_and_settings_are_kept(old, make_stack):
    """The first up keeps every mail readable, the second changes nothing."""
    stack = make_stack(f"adopt{old.image[-2:]}")
    shown = stack.mailcrypt("adopt", str(old.folder))
    assert shown.returncode == 0, shown.stderr
    assert "nothing was written" in shown.stdout
    assert "1 mail, key found" in shown.stdout
    assert "mail is compressed" in shown.stdout
    # The stack's file as 'pulumi stack init' leaves it.
    stack._file.write_text(stack.head)
    done = stack.mailcrypt("adopt", str(old.folder), "--apply")
    assert done.returncode == 0, done.stderr
    written = stack._file.read_text()
    secret = (old.folder / "certs/ecprivkey.pem").read_text().splitlines()[1]
    for text in (secret, PASSWORD):
        assert text not in written + done.stdout + shown.stdout
    assert yaml.safe_load(written)["config"]["mailcrypt:ports"] == {
        "smtp": f"127.0.0.1:{old.image[-2:]}25"
    }
    running = shell(f"docker inspect -f '{{{{.State.Running}}}}' {old.container}")
    assert running.strip() == "true", "adopt does not touch the old server"
    # The test removes what it made.
    for name in ("protect", "keepMail"):
        change = ("config", "set", f"mailcrypt:{name}", "false", "--stack", stack.name)
        stack.pulumi(*change, check=True)
    up = ["up", "--yes", "--skip-preview", "--stack", stack.name]
    for step in steps_of(done.stdout):
        if step.startswith("pulumi up"):
            printed = stack.pulumi(*up, check=True).stdout
        else:
            shell(step)
    assert re.search(r"1 (stored mails are|mail is) encrypted to the ring", printed), printed
    assert "mailcrypt-proof: proven" in printed
    assert "stored by the old server" in stack.read_all()
    assert stack.run(f"doveadm auth test {ADDRESS} secret-of-user")
    environment = stack.run("env").splitlines()
    secrets = {f"RELAY_PASSWORD={PASSWORD}", "A_TOKEN=00123", "B_TOKEN=123", "C_TOKEN=true"}
    assert secrets | {"D_TOKEN={}"} <= set(environment)
    served = stack.run(
        "openssl s_client -connect 127.0.0.1:993 </dev/null 2>/dev/null | openssl x509"
    )
    assert served.strip() in (old.folder / "certs/tls.pem").read_text()
    preview = stack.preview()
    assert changed(stack.pulumi(*up, check=True).stdout) == set(), preview
    assert secret not in stack.state()
    stack.destroy()
