"""Files that real Dovecots wrote, whole and spoiled, against the index beside them."""

import hashlib
import io
import json
from pathlib import Path

import pytest

from mailcrypt_component.dcrypt.compression import decompress, method_of
from mailcrypt_component.dcrypt.decrypt import NoKey, decrypt, decrypt_bytes
from mailcrypt_component.dcrypt.header import parse_header
from mailcrypt_component.dcrypt.key_id import key_id
from mailcrypt_component.dcrypt.keys import load_private_key
from mailcrypt_component.model.errors import FormatError

VECTORS = Path(__file__).parents[1] / "vectors"
INDEX = json.loads((VECTORS / "index.json").read_text())


def key_of(name):
    key = load_private_key((VECTORS / f"keys/{name}.pem").read_bytes())
    return {key_id(key.public_key()): key}


@pytest.mark.parametrize(
    ("name", "facts"), INDEX["encrypted"].items(), ids=INDEX["encrypted"].keys()
)
def test_what_dovecot_wrote_is_opened_byte_for_byte(name, facts):
    """In a stream and at once; the header tells the recipient without any key."""
    data, keys = (VECTORS / "encrypted" / name).read_bytes(), key_of(facts["key"])
    assert parse_header(data).recipients[0].key_id == next(iter(keys))
    inner = decrypt_bytes(data, keys)
    assert method_of(inner) == facts["compression"]
    assert b"".join(decrypt(io.BytesIO(data), keys)) == inner
    assert hashlib.sha256(b"".join(decompress([inner]))).hexdigest() == facts["sha256"]


@pytest.mark.parametrize("name", INDEX["encrypted"])
def test_another_key_opens_nothing(name):
    """The error says which key is wanted."""
    data = (VECTORS / "encrypted" / name).read_bytes()
    with pytest.raises(NoKey) as found:
        decrypt_bytes(data, key_of("stranger"))
    assert found.value.wanted == (parse_header(data).recipients[0].key_id,)


@pytest.mark.parametrize(("name", "error"), INDEX["faults"].items(), ids=INDEX["faults"].keys())
def test_each_fault_is_told_by_its_kind(name, error):
    """In a stream and at once; nothing but our own errors comes out."""
    data, keys = (VECTORS / "faults" / name).read_bytes(), key_of("p256")
    for opened in (
        lambda: decrypt_bytes(data, keys),
        lambda: list(decrypt(io.BytesIO(data), keys)),
    ):
        with pytest.raises(FormatError) as found:
            opened()
        assert type(found.value).__name__ == error
