"""Files that real Dovecots wrote; the index next to them states the result for each."""

import hashlib
import io
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mailcrypt_component.dcrypt.compression import decompress, method_of
from mailcrypt_component.dcrypt.decrypt import NoKey, decrypt, decrypt_bytes
from mailcrypt_component.dcrypt.header import HEADER_LIMIT, Damaged, Flags, Truncated, parse_header
from mailcrypt_component.dcrypt.key_id import key_id, version_1_id
from mailcrypt_component.dcrypt.keys import load_private_key, version_1_ids
from mailcrypt_component.model.errors import FormatError
from mailcrypt_component.store.audit import Audit, State
from mailcrypt_component.store.maildir import Mailbox
from mailcrypt_component.store.tally import Tally, state_of

VECTORS = Path(__file__).parents[1] / "vectors"
INDEX = json.loads((VECTORS / "index.json").read_text())


def key_of(name):
    key = load_private_key((VECTORS / f"keys/{name}.pem").read_bytes())
    return {key_id(key.public_key()): key}


def id_in(header, key):
    """Return the id that a header of this version has for a key."""
    make = version_1_id if header.version == 1 else key_id
    return make(key.public_key())


@pytest.mark.parametrize(
    ("name", "facts"), INDEX["encrypted"].items(), ids=INDEX["encrypted"].keys()
)
def test_a_file_of_dovecot_is_decrypted_byte_for_byte(name, facts):
    """Streaming and at-once decryption agree; the header names the recipient without any key."""
    data, keys = (VECTORS / "encrypted" / name).read_bytes(), key_of(facts["key"])
    header = parse_header(data)
    assert header.version == (1 if "version-1" in name else 2)
    assert header.recipients[0].key_id == id_in(header, *keys.values())
    inner = decrypt_bytes(data, keys)
    assert method_of(inner) == facts["compression"]
    assert b"".join(decrypt(io.BytesIO(data), keys)) == inner
    assert hashlib.sha256(b"".join(decompress([inner]))).hexdigest() == facts["sha256"]


@pytest.mark.parametrize("name", [*INDEX["encrypted"], "../faults/2.4-p256-aria-256-gcm-sha256"])
def test_the_audit_counts_each_as_encrypted_to_its_key(name):
    """Mail of any version and cipher counts as encrypted, even if it cannot be decrypted here."""
    data = (VECTORS / "encrypted" / name).read_bytes()
    key = INDEX["encrypted"].get(name, {"key": "p256"})["key"]
    assert state_of(data[:HEADER_LIMIT], len(data)) == id_in(
        parse_header(data), *key_of(key).values()
    )


def test_a_file_that_cannot_be_read_names_the_program_that_can():
    """The message names the cipher and the program that decrypts it."""
    data = (VECTORS / "faults/2.4-p256-aria-256-gcm-sha256").read_bytes()
    with pytest.raises(FormatError) as found:
        decrypt_bytes(data, key_of("p256"))
    assert "aria-256-gcm and sha256" in str(found.value)
    assert "hint: the Dovecot that wrote it reads it" in str(found.value)


def test_version_1_of_a_key_is_decrypted_with_the_ordinary_key_ids():
    """A ring that maps key ids to keys needs no entry for the id of version 1."""
    data = (VECTORS / "encrypted/2.3-p256-version-1-small").read_bytes()
    ring = key_of("rsa") | key_of("x25519") | key_of("p256")
    assert parse_header(data).recipients[0].key_id not in ring
    assert decrypt_bytes(data, ring).startswith(b"From: ")


def test_version_1_counts_as_encrypted_to_its_key_of_the_ring():
    """The audit maps the id of version 1 to the key's own; without the map the key is unknown."""
    data = (VECTORS / "encrypted/2.3-p256-version-1-small").read_bytes()
    (key,) = key_of("p256").values()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    tally, state = Tally(), state_of(data, len(data))
    tally.add(Mailbox("example.test/ann", "INBOX"), {state: 1, key_id(key.public_key()): 2})
    ids = (key_id(key.public_key()),)
    audit = Audit("x", tally, ids, version_1_ids([public.decode()]))
    assert (audit.state(state), audit.by_key()) == (State.CURRENT, {ids[0]: 3})
    assert Audit("x", tally, ids).state(state) is State.UNKNOWN


def test_keys_that_version_1_cannot_encrypt_to_have_no_id_there():
    """RSA and X25519 keys are left out of the map."""
    keys = [*key_of("rsa").values(), *key_of("x25519").values()]
    form = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert version_1_ids([key.public_key().public_bytes(*form).decode() for key in keys]) == {}


def test_version_1_is_marked_as_unprotected():
    """A missing end goes unnoticed: the header says so, and a cut file gives a cut mail."""
    data, keys = (VECTORS / "encrypted/2.3-p256-version-1-small").read_bytes(), key_of("p256")
    header = parse_header(data)
    assert not header.is_protected
    assert header.flags == Flags.VERSION_1 | Flags.NO_INTEGRITY
    assert decrypt_bytes(data[:-7], keys) == decrypt_bytes(data, keys)[:-7]


def test_a_content_key_that_was_altered_under_an_hmac_is_refused():
    """An HMAC covers the encrypted content only, so the hash of the key has to be compared."""
    data = bytearray((VECTORS / "encrypted/2.4-p256-chacha20-poly1305-sha256").read_bytes())
    header = parse_header(bytes(data))
    assert header.flags is Flags.HMAC
    data[data.index(header.recipients[0].encrypted_key) + 3] ^= 1
    with pytest.raises(Damaged):
        decrypt_bytes(bytes(data), key_of("p256"))


def test_version_1_is_truncated_until_its_header_is_whole():
    """Each shorter prefix of the header is refused, and says how much is needed."""
    data, keys = (VECTORS / "encrypted/2.3-p256-version-1-small").read_bytes(), key_of("p256")
    for size in range(1, parse_header(data).length):
        with pytest.raises(Truncated) as found:
            decrypt_bytes(data[:size], keys)
        assert size < found.value.needed <= parse_header(data).length


@pytest.mark.parametrize("name", INDEX["encrypted"])
def test_another_key_decrypts_nothing(name):
    """The error names the key that is needed."""
    data = (VECTORS / "encrypted" / name).read_bytes()
    with pytest.raises(NoKey) as found:
        decrypt_bytes(data, key_of("stranger"))
    assert found.value.wanted == (parse_header(data).recipients[0].key_id,)


@pytest.mark.parametrize(("name", "error"), INDEX["faults"].items(), ids=INDEX["faults"].keys())
def test_each_fault_gives_its_own_error(name, error):
    """Streaming and at-once decryption raise the same error of ours, and nothing else."""
    data, keys = (VECTORS / "faults" / name).read_bytes(), key_of("p256")
    for decrypted in (
        lambda: decrypt_bytes(data, keys),
        lambda: list(decrypt(io.BytesIO(data), keys)),
    ):
        with pytest.raises(FormatError) as found:
            decrypted()
        assert type(found.value).__name__ == error
