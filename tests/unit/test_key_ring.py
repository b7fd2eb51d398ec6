"""The kinds and encodings of key that Dovecot can use, and those that are refused."""

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x448, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from mailcrypt_component.dialects.dialect import Dialect
from mailcrypt_component.model.errors import KeyFault
from mailcrypt_component.model.key_ring import Curve, make_key, read_key, read_public_key

VECTORS = Path(__file__).parents[1] / "vectors/keys"
EC = ec.generate_private_key(ec.SECP256R1())


def pem_of(key, form=PrivateFormat.PKCS8, encryption=None):
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption()).decode()


@pytest.mark.parametrize(
    ("key", "curve"),
    [
        (EC, Curve.P256),
        (ec.generate_private_key(ec.SECP384R1()), Curve.P384),
        (ec.generate_private_key(ec.SECP521R1()), Curve.P521),
        (x25519.X25519PrivateKey.generate(), Curve.X25519),
    ],
)
def test_a_pkcs8_key_is_read(key, curve):
    """Kind, id and public key are all derived from the private key."""
    read = read_key("k1", pem_of(key), Dialect.V2_4)
    assert read.kind == curve
    assert len(read.key_id) == 64
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert read.public_pem == public.decode()


RETIRED = {
    "rsa": "RSA-2048",
    "rsa4096": "RSA-4096",
    "x448": "X448",
    "secp192r1": "secp192r1",
    "secp224r1": "secp224r1",
    "secp256k1": "secp256k1",
    "brainpoolP256r1": "brainpoolP256r1",
    "brainpoolP512r1": "brainpoolP512r1",
}
"""Each is the key of a mail that a real Dovecot wrote (tests/vectors)."""


@pytest.mark.parametrize(("name", "kind"), RETIRED.items(), ids=RETIRED)
def test_a_further_kind_of_key_is_accepted_as_a_retired_key_only(name, kind):
    """As the current key it is refused, with a hint that keeps its mail readable."""
    pem = (VECTORS / f"{name}.pem").read_text()
    assert read_key("old", pem, Dialect.V2_4, current=False).kind == kind
    with pytest.raises(KeyFault, match=f"a current key of the kind {kind}") as caught:
        read_key("old", pem, Dialect.V2_4)
    assert "hint: put a new key first in keys" in str(caught.value)


@pytest.mark.parametrize("kind", [*Curve, *RETIRED.values(), "brainpoolP384r1"])
def test_a_key_is_made_of_each_kind_that_a_ring_can_hold(kind):
    """Preflight tries a configuration with throw-away keys of the ring's kinds."""
    assert read_key("k1", pem_of(make_key(kind)), current=False).kind == kind


PUBLIC = EC.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def openssl(*arguments, stdin=None):
    """Return the output of openssl."""
    argv = ["openssl", *arguments]
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, check=True).stdout


EXPLICIT = openssl(
    "genpkey",
    "-algorithm",
    "EC",
    "-pkeyopt",
    "ec_paramgen_curve:prime256v1",
    "-pkeyopt",
    "ec_param_enc:explicit",
)
BINARY = openssl(
    "genpkey",
    "-algorithm",
    "EC",
    "-pkeyopt",
    "ec_paramgen_curve:sect283r1",
    "-pkeyopt",
    "ec_param_enc:named_curve",
)
BAD = {
    "SEC1": (pem_of(EC, PrivateFormat.TraditionalOpenSSL), "SEC1"),
    "encrypted": (pem_of(EC, encryption=BestAvailableEncryption(b"x")), "encrypted"),
    "encrypted SEC1": (
        pem_of(EC, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"x")),
        "encrypted SEC1",
    ),
    "PKCS#1": (
        pem_of(rsa.generate_private_key(65537, 2048), PrivateFormat.TraditionalOpenSSL),
        "PKCS#1",
    ),
    "empty": ("", "empty"),
    "blank": (" \n", "empty"),
    "public": (PUBLIC, "only a public key"),
    "no PEM": ("hunter2", "without a whole PEM key"),
    "no end": (pem_of(EC)[:200], "without a whole PEM key"),
    "two keys": (pem_of(EC) * 2, "more than one"),
    "Ed25519": (pem_of(ed25519.Ed25519PrivateKey.generate()), "Ed25519"),
    "RSA-PSS": (openssl("genpkey", "-quiet", "-algorithm", "RSA-PSS"), "RSA-PSS"),
    "explicit parameters": (EXPLICIT, "spells out its curve"),
    "binary curve": (BINARY, "cannot read"),
    "damaged": (
        pem_of(EC).replace("MIG", "MIX", 1)[:90] + "\n-----END PRIVATE KEY-----",
        "not a private key",
    ),
}


@pytest.mark.parametrize("current", [True, False], ids=["current", "retired"])
@pytest.mark.parametrize(("pem", "words"), BAD.values(), ids=BAD.keys())
def test_a_key_that_dovecot_refuses_is_refused(pem, words, current):
    """The message names the setting and what was found, and never holds the key."""
    with pytest.raises(KeyFault, match=words) as caught:
        read_key("k1", pem, current=current)
    message = str(caught.value)
    assert "keys[k1].pem" in message
    assert "hint:" in message
    assert not any(line and line in message for line in pem.splitlines()[1:-1])


def test_the_hint_for_explicit_parameters_fixes_the_key(tmp_path):
    """The command in the message makes a key that is accepted, with the same id."""
    (tmp_path / "old.pem").write_text(EXPLICIT)
    with pytest.raises(KeyFault) as caught:
        read_key("k1", EXPLICIT)
    subprocess.run(caught.value.hint.split(), cwd=tmp_path, check=True)
    assert read_key("k1", (tmp_path / "new.pem").read_text()).kind == Curve.P256


@pytest.mark.parametrize("kind", [Curve.X25519, "X448"])
@pytest.mark.parametrize("current", [True, False], ids=["current", "retired"])
def test_keys_that_make_dovecot_2_3_crash_are_refused_with_it(kind, current):
    """They are refused as retired keys, too, because they also crash it then."""
    with pytest.raises(KeyFault, match=f"{kind} key, which makes Dovecot 2.3 crash"):
        read_key("k1", pem_of(make_key(kind)), Dialect.V2_3, current=current)


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_text_around_the_key_does_not_matter(ends):
    """A key is read with the comments that some tools write in front of it."""
    text = f"subject: x{ends}{pem_of(EC)}".replace("\n", ends)
    assert read_key("k1", text).key_id == read_key("k1", pem_of(EC)).key_id


def test_a_key_never_shows_its_private_part():
    """Neither repr nor str of a ring key holds the private key."""
    key = read_key("k1", pem_of(EC))
    assert "PRIVATE" not in repr(key) + str(key)


def test_a_public_key_gives_the_same_ids_as_its_private_key():
    """Everything but the private part agrees."""
    whole, public = read_key("k1", pem_of(EC)), read_public_key("k1", PUBLIC)
    assert (public.kind, public.key_id, public.version_1_id, public.public_pem) == (
        *(whole.kind, whole.key_id, whole.version_1_id),
        PUBLIC,
    )
    assert not hasattr(public, "private_pem")


NOT_PUBLIC = {
    "private": (pem_of(EC), "a private key"),
    "SEC1": (pem_of(EC, PrivateFormat.TraditionalOpenSSL), "a private key"),
    "half a private key": (pem_of(EC)[:100], "a private key"),
    "both": (PUBLIC + pem_of(EC), "a private key"),
    "empty": ("\n", "empty"),
    "no PEM": ("hunter2", "without a whole PEM key"),
    "two": (PUBLIC * 2, "more than one"),
    "damaged": (PUBLIC.replace("MFk", "MFX"), "not a public key"),
    "certificate": (
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "BEGIN CERTIFICATE",
    ),
    "Ed25519": (
        ed25519.Ed25519PrivateKey.generate()
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        .decode(),
        "Ed25519",
    ),
}


@pytest.mark.parametrize(("pem", "words"), NOT_PUBLIC.values(), ids=NOT_PUBLIC)
def test_a_text_that_is_no_public_key_is_refused(pem, words):
    """The message names the setting and never holds the text."""
    with pytest.raises(KeyFault, match=words) as caught:
        read_public_key("k1", pem)
    message = str(caught.value)
    assert "keys[k1].publicPem" in message
    assert "hint:" in message
    assert not any(line and line in message for line in pem.splitlines()[1:-1])


def test_a_private_key_as_public_pem_is_reported_as_exposed():
    """That setting is not secret, so others may know the key by now."""
    with pytest.raises(KeyFault, match="replace the key if others could read it"):
        read_public_key("k1", pem_of(EC))


def test_a_public_key_of_a_retired_kind_is_refused_as_the_current_one():
    """The same rule holds as for private keys."""
    public = x448.X448PrivateKey.generate().public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    assert read_public_key("old", pem, Dialect.V2_4, current=False).kind == "X448"
    with pytest.raises(KeyFault, match="a current key of the kind X448"):
        read_public_key("old", pem, Dialect.V2_4)
