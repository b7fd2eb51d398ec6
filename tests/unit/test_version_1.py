"""Mail of format version 1 names its key by another id, and still belongs to the ring."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from mailcrypt_component.checks.preflight.mails import judge_mails
from mailcrypt_component.checks.proof.stored import _refuse_unknown_keys, count
from mailcrypt_component.checks.proof.target import Target
from mailcrypt_component.dialects.dialect import Dialect
from mailcrypt_component.model.docker_host import DockerHost
from mailcrypt_component.model.errors import PreflightError, ProofError
from mailcrypt_component.model.key_ring import read_key
from mailcrypt_component.store.maildir import Mail, Mailbox
from mailcrypt_component.store.tally import Tally, state_of

VECTORS = Path(__file__).parents[1] / "vectors"
OLD = (VECTORS / "encrypted/2.3-p256-version-1-small").read_bytes()
KEY = read_key("k1", (VECTORS / "keys/p256.pem").read_text())


def preflight(version_1_ids):
    """Judge a store that holds one mail of version 1."""
    tally = Tally()
    tally.add(Mailbox("example.test/ann", "INBOX"), {state_of(OLD, len(OLD)): 1})
    plan = SimpleNamespace(
        key_ids=(KEY.key_id,), version_1_ids=version_1_ids, given_up=(), mail="x", stack="dev"
    )
    return judge_mails(tally, plan)


def test_preflight_accepts_version_1_mail_of_a_key_in_the_ring():
    """It is counted as encrypted to the ring; without the ring's old ids it is refused."""
    assert "1 mail is encrypted to the ring" in preflight((KEY.version_1_id,))
    with pytest.raises(PreflightError, match=KEY.version_1_id):
        preflight(())


def proof(public_pems):
    """Compare a store that holds one mail of version 1 with a ring, as the proof does."""
    target = Target(
        docker_host=DockerHost(),
        container="x",
        dialect=Dialect.V2_3,
        key_ids=(KEY.key_id,),
        account="probe@example.test",
        deadline=1.0,
        password="",
        public_pems=public_pems,
    )
    mail = Mail(b"/var/mail/example.test/ann/cur/1.a", OLD, len(OLD), 0)
    stored = count(iter([mail]))
    assert stored.number == 1
    _refuse_unknown_keys(SimpleNamespace(target=target, where="x"), stored)


def test_the_proof_accepts_version_1_mail_of_a_key_in_the_ring():
    """It derives the old ids from the public keys; without them the key is unknown."""
    proof((KEY.public_pem,))
    with pytest.raises(ProofError, match="which the ring lacks"):
        proof(())
