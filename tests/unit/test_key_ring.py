"""What Dovecot can use as a key, and what is refused."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from mailcrypt_component.model.dialects import Dialect
from mailcrypt_component.model.errors import KeyFault
from mailcrypt_component.model.key_ring import Curve, read_key

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
    """Curve, id and public key all come out of the private key."""
    read = read_key("k1", pem_of(key), Dialect.V2_4)
    assert read.curve is curve
    assert len(read.key_id) == 64
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert read.public_pem == public.decode()


PUBLIC = EC.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
BAD = {
    "SEC1": (pem_of(EC, PrivateFormat.TraditionalOpenSSL), "SEC1"),
    "encrypted": (pem_of(EC, encryption=BestAvailableEncryption(b"x")), "encrypted"),
    "encrypted SEC1": (
        pem_of(EC, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"x")),
        "encrypted SEC1",
    ),
    "empty": ("", "empty"),
    "blank": (" \n", "empty"),
    "public": (PUBLIC, "only a public key"),
    "no PEM": ("hunter2", "no PEM"),
    "two keys": (pem_of(EC) * 2, "more than one"),
    "RSA": (pem_of(rsa.generate_private_key(65537, 2048)), "RSA"),
    "Ed25519": (pem_of(ed25519.Ed25519PrivateKey.generate()), "Ed25519"),
    "P-224": (pem_of(ec.generate_private_key(ec.SECP224R1())), "secp224r1"),
    "damaged": (pem_of(EC).replace("MIG", "MIX", 1)[:90] + "\n-----END PRIVATE KEY-----", "PEM"),
}


@pytest.mark.parametrize(("pem", "words"), BAD.values(), ids=BAD.keys())
def test_a_key_that_dovecot_refuses_is_refused(pem, words):
    """The message names the setting and what was found, and never holds the key."""
    with pytest.raises(KeyFault, match=words) as caught:
        read_key("k1", pem)
    message = str(caught.value)
    assert "keys[k1].pem" in message
    assert "hint:" in message
    assert not any(line and line in message for line in pem.splitlines()[1:-1])


def test_x25519_is_refused_with_dovecot_2_3():
    """It makes that Dovecot crash."""
    with pytest.raises(KeyFault, match="X25519"):
        read_key("k1", pem_of(x25519.X25519PrivateKey.generate()), Dialect.V2_3)


def test_a_key_never_shows_its_private_part():
    """Neither repr nor str of a ring key holds the private key."""
    key = read_key("k1", pem_of(EC))
    assert "PRIVATE" not in repr(key) + str(key)
