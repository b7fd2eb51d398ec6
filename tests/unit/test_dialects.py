"""The compiled configuration, with one golden file per dialect and ring."""

from pathlib import Path

import pytest

from mailcrypt_component.dialects.compiler import render
from mailcrypt_component.dialects.dialect import CryptModel, Dialect, of_version
from mailcrypt_component.model import dms
from mailcrypt_component.model.custody import Custody, IndexCache
from mailcrypt_component.model.errors import SettingsError
from mailcrypt_component.model.key_ring import model_of

GOLDEN = Path(__file__).parent / "golden"


RINGS = {"1-key": ["k1"], "3-keys": ["k3", "k2", "k1"]}
CUSTODIES = {
    "memory": (Custody.MEMORY, IndexCache.MEMORY),
    "disk": (Custody.DISK, IndexCache.DISK),
}


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("ring", RINGS)
@pytest.mark.parametrize("custody", CUSTODIES)
def test_the_rendered_texts_are_the_golden_files(dialect, ring, custody):
    """A ring renders to exactly the files that real Dovecot loads in the server tests."""
    files = render(model_of(RINGS[ring], *CUSTODIES[custody]), dialect)
    golden = GOLDEN / f"{dialect.value}-{ring}-{custody}"
    found = {"10-custom.conf": files.crypt, "99-mailcrypt.conf": files.storage}
    if files.private:
        found["private.conf"] = files.private
    assert found == {path.name: path.read_text() for path in golden.iterdir()}


@pytest.mark.parametrize("dialect", Dialect)
def test_the_configuration_of_the_private_keys_has_a_path_of_its_own(dialect):
    """A new ring's file never replaces the file that the running server reads."""
    one, two = (render(model_of(names), dialect) for names in RINGS.values())
    assert one.private_path != two.private_path
    assert f"!include_try {one.private_path}" in one.storage


@pytest.mark.parametrize("dialect", Dialect)
def test_a_locked_server_has_only_the_public_key(dialect):
    """With custody in memory, no file on the disk names a private key."""
    files = render(model_of(["k1"]), dialect)
    assert "private_key" not in files.crypt + files.storage
    assert "private_key" in files.private


@pytest.mark.parametrize("dialect", Dialect)
def test_an_empty_ring_is_refused(dialect):
    """No configuration is compiled that would store mail in clear."""
    with pytest.raises(SettingsError, match="empty"):
        render(CryptModel((), "/certs/x"), dialect)


@pytest.mark.parametrize(
    ("version", "dialect"), [("2.3.19.1 (9b53102964)", "2.3"), ("2.4.1-4 (7d8c0e5759)", "2.4")]
)
def test_the_version_decides_the_dialect(version, dialect):
    """The output of dovecot --version decides."""
    assert of_version(version) is Dialect(dialect)


@pytest.mark.parametrize("version", ["", "2.2.36", "3.0.0", "2.30.1", "dovecot"])
def test_an_unknown_version_is_refused(version):
    """The dialect of an untested Dovecot is not guessed."""
    with pytest.raises(SettingsError, match="not supported"):
        of_version(version)


@pytest.mark.parametrize(
    ("image", "dialect"),
    [
        ("mailserver/docker-mailserver:15.1.0", "2.3"),
        ("docker.io/mailserver/docker-mailserver:v16", "2.4"),
        ("ghcr.io/docker-mailserver/docker-mailserver:16.0", "2.4"),
        ("mailserver/docker-mailserver:latest", None),
        ("mailserver/docker-mailserver:edge", None),
        ("example.test/my-docker-mailserver-16", None),
        ("example.test/docker-mailserver:15.1.0", None),
        ("sha256:0123", None),
    ],
)
def test_only_released_tags_decide_the_dialect(image, dialect):
    """The image is asked for the dialect of a moving tag."""
    assert dms.dialect_of_tag(image) == dialect
