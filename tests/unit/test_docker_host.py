"""The connection to an engine, which is never plain TCP to another machine."""

import hashlib
import json
import os
import pwd

import pytest

from mailcrypt_component.docker_api import address
from mailcrypt_component.docker_api.certificates import certificate_files, refuse_plain_tcp
from mailcrypt_component.model.docker_host import DockerHost, docker_host_of
from mailcrypt_component.model.errors import MailCryptError

REMOTE = "tcp://192.0.2.1:2376"


@pytest.fixture(autouse=True)
def no_certificates(monkeypatch):
    """Remove the machine's own Docker settings from the environment."""
    for name in ("DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)


def test_plain_tcp_to_another_machine_is_refused():
    """The message names the address and the alternatives."""
    with pytest.raises(MailCryptError, match=r"ssh://root@192\.0\.2\.1") as refused:
        refuse_plain_tcp(REMOTE, DockerHost(REMOTE))
    assert "private keys in clear" in str(refused.value)


@pytest.mark.parametrize("url", ["http://192.0.2.1:2375", "192.0.2.1:2375", "fd://3"])
def test_another_scheme_or_none_is_refused_like_plain_tcp(url):
    """The Docker SDK would take the first two for plain HTTP."""
    with pytest.raises(MailCryptError, match="dockerHost"):
        refuse_plain_tcp(url, DockerHost(url))


@pytest.mark.parametrize(
    "url", ["unix:///var/run/docker.sock", "tcp://127.0.0.1:2375", "ssh://root@192.0.2.1"]
)
def test_this_machine_and_ssh_need_no_certificate(url):
    """Nothing leaves the machine, or SSH encrypts it."""
    refuse_plain_tcp(url, DockerHost(url))


@pytest.mark.parametrize(
    "docker_host",
    [
        DockerHost(REMOTE, ca="CA", certificate="CERT", private_key="KEY"),
        DockerHost(REMOTE, certificate_folder="/folder"),
    ],
)
def test_certificates_of_the_provider_are_enough(docker_host):
    """Texts and a folder are used in the same way as by the provider."""
    refuse_plain_tcp(REMOTE, docker_host)
    assert certificate_files(docker_host) is not None


def test_certificates_of_the_environment_are_enough(monkeypatch):
    """They count with DOCKER_TLS_VERIFY, as for the docker command."""
    monkeypatch.setenv("DOCKER_CERT_PATH", "/folder")
    with pytest.raises(MailCryptError):
        refuse_plain_tcp(REMOTE, DockerHost(REMOTE))
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    refuse_plain_tcp(REMOTE, DockerHost(REMOTE))


def test_given_texts_become_files_for_their_owner_alone():
    """Others cannot read the private key, and no message shows it."""
    docker_host = DockerHost(REMOTE, ca="CA", certificate="CERT", private_key="KEY")
    files = certificate_files(docker_host)
    with open(files.private_key) as file:
        assert file.read() == "KEY"
    assert os.stat(files.private_key).st_mode & 0o777 == 0o600
    assert "KEY" not in repr(docker_host)


def test_a_docker_host_survives_the_state():
    """The commands read the same values that the gates were given."""
    docker_host = DockerHost(REMOTE, "CA", "CERT", "KEY", None, ("-p", "22"))
    assert docker_host_of(docker_host.as_json()) == docker_host


@pytest.fixture
def context(tmp_path, monkeypatch):
    """A Docker context of this user, as ``docker context create`` writes it."""
    entry = list(pwd.getpwuid(os.getuid()))
    entry[5] = str(tmp_path)
    monkeypatch.setattr(pwd, "getpwuid", lambda _: pwd.struct_passwd(entry))
    folder = tmp_path / ".docker/contexts/meta" / hashlib.sha256(b"office").hexdigest()
    folder.mkdir(parents=True)
    meta = {"Name": "office", "Metadata": {}, "Endpoints": {"docker": {"Host": REMOTE}}}
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder / "meta.json"


def test_a_context_names_an_address(context):
    """It is read where the provider reads it, whatever HOME says."""
    assert address.endpoint_of_context("office") == REMOTE


@pytest.mark.parametrize("content", [None, "{", "[]", '{"Endpoints": {}}'])
def test_a_context_that_cannot_be_read_is_named(context, content):
    """Missing or damaged, it gets one message."""
    context.write_text(content) if content else context.unlink()
    with pytest.raises(MailCryptError, match="the Docker context office, which cannot be read"):
        address.endpoint_of_context("office")


def test_an_address_beside_another_context_is_refused(context):
    """The provider would follow the context, the gates the address."""
    address.refuse_two_engines(REMOTE, "office")
    with pytest.raises(MailCryptError, match="DOCKER_CONTEXT=office names tcp://"):
        address.refuse_two_engines("unix:///var/run/docker.sock", "office")
