"""The header parser reads a header that a real Dovecot wrote, and refuses everything else."""

import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from hypothesis import given
from hypothesis import strategies as st

from mailcrypt_component.dcrypt.decrypt import decrypt_bytes
from mailcrypt_component.dcrypt.header import (
    MAGIC,
    Damaged,
    NotEncrypted,
    Truncated,
    Unsupported,
    parse_header,
)
from mailcrypt_component.dcrypt.key_id import key_id
from mailcrypt_component.model.errors import FormatError

# Written by Dovecot 2.4.1 for a P-256 key with the id below.
ENCRYPTED = bytes.fromhex(
    "43525950544544030702000000020000"
    "00ff0609608648016503040" + "12e0609608648016503040201" + "00000800000000cf"
    "0102a10e63aa472919aa6b77c12c6e28e6283ea7de8c956876eccffa1636a05cd062"
    "0000004104b613362d8040851281274ee826ab22de39b3afb74b135adeb320d6f7598abbeb"
    "2bd14ce96d88c7e771df7ba11d83f61b1f4fc4dc22bc6571602647a65be62e47"
    "00000040f218eb0f45f0232377dd6be5b74a0e8ab9e6d467655b78b8361bfffc688e78b0"
    "462868d7bf26cd3cd48f3baa02ec3275771162dcb31b8c35e1bdd399f69b419c"
    "00000020" + "00" * 32
)
KEY_ID = "a10e63aa472919aa6b77c12c6e28e6283ea7de8c956876eccffa1636a05cd062"


def test_a_real_header_is_read():
    """Version, cipher, integrity and recipient are those that Dovecot was configured to write."""
    header = parse_header(ENCRYPTED + b"content")
    assert (header.version, header.cipher, header.mac) == (2, "aes-256-gcm", "sha256")
    assert header.is_aead
    assert header.rounds == 2048
    assert header.length == len(ENCRYPTED)
    assert [recipient.key_id for recipient in header.recipients] == [KEY_ID]


def test_every_shorter_prefix_reports_how_much_it_needs():
    """A header that grows byte by byte is truncated until it is whole."""
    for size in range(1, len(ENCRYPTED)):
        with pytest.raises(Truncated) as caught:
            parse_header(ENCRYPTED[:size])
        assert size < caught.value.needed <= len(ENCRYPTED)


@pytest.mark.parametrize("content", [b"", b"Return-Path: <a@b>\r\n", b"CRYPTEX\x03\x07", b"\x00"])
def test_a_mail_in_clear_is_recognised(content):
    """A file without the magic is not encrypted."""
    with pytest.raises(NotEncrypted):
        parse_header(content + b"x" * 20 if content else content)


@given(st.binary(max_size=600))
def test_garbage_after_the_magic_is_never_a_header(rest):
    """Garbage raises a FormatError and nothing else."""
    with pytest.raises(FormatError):
        parse_header(MAGIC + b"\x02" + rest)


@pytest.mark.parametrize("position", [14, 40, 44, 82, 151, 219])
def test_a_wrong_length_is_damage(position):
    """A length of 2^32-1 in any field is refused without reading that much."""
    lying = ENCRYPTED[:position] + b"\xff\xff\xff\xff" + ENCRYPTED[position + 4 :]
    if lying[40:44] == b"\xff" * 4:
        assert parse_header(lying).rounds == 2**32 - 1
    else:
        with pytest.raises((Damaged, Truncated)):
            parse_header(lying)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_the_key_id_is_of_the_compressed_public_key(curve, tmp_path):
    """OpenSSL computes the same digest."""
    public = ec.generate_private_key(curve).public_key()
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    argv = ["openssl", "pkey", "-pubin", "-inform", "DER", "-ec_conv_form", "compressed"]
    compressed = subprocess.run(
        [*argv, "-outform", "DER"], input=der, capture_output=True, check=True
    ).stdout
    assert load_der_public_key(compressed) == public
    digest = subprocess.run(
        ["openssl", "dgst", "-sha256", "-r"], input=compressed, capture_output=True, check=True
    ).stdout
    assert key_id(public) == digest.split()[0].decode()


def test_an_x25519_key_has_an_id():
    """X25519 has one form only; its id is that of the plain SubjectPublicKeyInfo."""
    assert len(key_id(x25519.X25519PrivateKey.generate().public_key())) == 64


def test_a_mail_to_an_ml_kem_key_counts_as_encrypted_and_is_not_damaged():
    """Dovecot after 2.4.4 writes such mail; only decrypting it is not supported."""
    key = ec.generate_private_key(ec.SECP256R1())
    kem = ENCRYPTED[:49] + b"\x04" + ENCRYPTED[50:]
    assert parse_header(kem).recipients[0].key_id == KEY_ID
    with pytest.raises(Unsupported, match="ML-KEM") as found:
        decrypt_bytes(kem + bytes(100), {KEY_ID: key})
    assert "hint: the Dovecot that wrote it reads it" in str(found.value)
