"""The search of the raw image finds what it has to find, wherever it lies."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.thief.mails import new_mark
from tests.thief.search import CHUNK, key_patterns, kinds, search, word_patterns

CURVES = (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())


def pem_of(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.fixture
def image(tmp_path):
    """A sparse file in which something can be planted."""

    def plant(content, offset):
        path = tmp_path / "image"
        with path.open("wb") as file:
            file.truncate(4 * CHUNK)
            file.seek(offset)
            file.write(content)
        return path

    return plant


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.name)
@pytest.mark.parametrize("offset", [0, 4000, 2 * CHUNK - 7])
def test_a_key_is_found_in_every_form(image, curve, offset):
    """Each line of its PEM, its DER and its scalar, also across the border of two chunks."""
    patterns = key_patterns(pem_of(ec.generate_private_key(curve)))
    for name, word in patterns.items():
        assert name in {hit.name for hit in search(image(b"." + word, offset), patterns)}


def test_another_key_is_not_found(image):
    """Nothing of a key of the same curve counts, although both begin alike."""
    planted, other = (pem_of(ec.generate_private_key(CURVES[0])) for _ in range(2))
    assert search(image(planted.encode(), 0), key_patterns(planted))
    assert not search(image(planted.encode(), 0), key_patterns(other))


def test_words_are_found_and_told_apart(image):
    """As text with their kind, and in the base64 of an attachment."""
    mark = new_mark()
    content = f"{mark}subject {mark}text\n".encode() + base64.b64encode(f"{mark}...".encode())
    hits = search(image(content, CHUNK - 30), word_patterns(mark))
    assert kinds(hits) == {"subject": 1, "text": 1, "mark in base64": 1}
