"""A store on a Docker host, read and encrypted by the agent in real containers."""

import os

import pytest

from mailcrypt_component.docker_api.connect import connect
from mailcrypt_component.docker_api.throwaway import throwaway
from mailcrypt_component.model.docker_host import DockerHost
from mailcrypt_component.model.errors import UnreachableError
from mailcrypt_component.store.drill import drill
from mailcrypt_component.store.encrypt import EncryptionJob, encrypt_store
from mailcrypt_component.store.local.walk import count
from mailcrypt_component.store.maildir import NoMaildir
from mailcrypt_component.store.volume.census import (
    census,
    count_in,
    mail_mounts,
    mails_in,
    opened_volume,
)
from mailcrypt_component.store.volume.files import volume_files
from tests.store import Key, Store

pytestmark = pytest.mark.server

CURRENT, RETIRED = Key(), Key()
RING = {**CURRENT.ring, **RETIRED.ring}
HOST = DockerHost()


@pytest.fixture(params=["12", "13"])
def image(request):
    return f"mailcrypt-dms-dev:{request.param}"


@pytest.fixture
def store(tmp_path):
    """Mail in each state, a name that is not UTF-8, and accounts called new and tmp."""
    store = Store(tmp_path / "mail")
    store.encrypt(b"one", CURRENT, mtime=1_234_567_890)
    store.encrypt(b"two", RETIRED, user="example.test/new", folder=".Sent", new=True)
    store.encrypt(b"three", RETIRED, user="example.test/tmp", name=os.fsdecode(b"3.\n\xff"))
    store.put(b"Subject: x\n\n", user="example.test/new", mtime=1_234_567_890)
    return store


def test_a_volume_and_a_directory_have_the_same_count(image, store):
    """Mailboxes, years and examples agree, too."""
    os.symlink("/elsewhere", store.root / "example.test/link")
    (store.root / "example.test/m.1").write_bytes(b"x")
    here = count(str(store.root), years=True, workers=1)
    there = census(connect(HOST), image, str(store.root), deadline=60, years=True)
    assert (there.mailboxes, there.years) == (here.mailboxes, here.years)
    assert there.examples == here.examples
    assert len(there.not_looked_at()) == 2


def test_a_volume_without_any_maildir_is_an_error(image, tmp_path):
    """Neither the audit nor encryption reports a result, and no missing volume is made."""
    (tmp_path / "example.test").mkdir()
    client = connect(HOST)
    with pytest.raises(NoMaildir, match="no Maildir below this path"):
        census(client, image, str(tmp_path), deadline=60, maildir_required=True)
    assert census(client, image, str(tmp_path), deadline=60).states() == {}
    with pytest.raises(NoMaildir), volume_files(HOST, image, str(tmp_path)):
        pass
    with pytest.raises(UnreachableError, match="this volume does not exist"):
        census(client, image, "mctest-no-such-volume", deadline=60)
    assert mail_mounts(client, "mctest-no-such-volume") == []


def test_a_running_container_can_be_read(image, store):
    """The folder may be any folder; one that does not exist is empty."""
    client = connect(HOST)
    mounts = mail_mounts(client, str(store.root))
    with throwaway(client, image, mounts=mounts, purpose="reading") as container:
        assert count_in(container, deadline=60).states() == count(str(store.root)).states()
        (mail,) = mails_in(container, "/var/mail/example.test/ann")
        assert mail.path.startswith(b"/var/mail/example.test/ann/cur/")
        assert mails_in(container, "/var/mail/example.test/nobody") == []
        with pytest.raises(UnreachableError, match="did not end within"):
            mails_in(container, "/proc", timeout=0.1)


def test_a_drill_opens_the_mail_of_a_volume(image, store):
    """It opens a mail of every key id, in accounts called new and tmp, too."""
    with opened_volume(connect(HOST), image, str(store.root), 60) as (mails, fetch):
        found = drill(mails, fetch, RING, sample=5)
    assert found.proven
    assert {key: result.opened for key, result in found.keys.items()} == {
        CURRENT.id: 1,
        RETIRED.id: 2,
    }


def test_a_volume_is_encrypted_and_no_container_stays(image, store):
    """Several processes do it, and a second run meanwhile is refused."""
    for number in range(50):
        store.put(b"clear %d" % number, name=f"{number}.a.b", mtime=1_234_567_890)
    job = EncryptionJob(RING, CURRENT.id, apply=True)
    with volume_files(HOST, image, str(store.root)) as opened:
        with (
            pytest.raises(UnreachableError, match="another run"),
            volume_files(HOST, image, str(store.root)),
        ):
            pass
        done = encrypt_store(opened, job, workers=2)
    assert (done.encrypted, done.current, done.left) == (53, 1, {})
    assert count(str(store.root)).states() == {CURRENT.id: 54}
    mails = [path for path in store.root.rglob("*") if path.parent.name == "cur" and path.is_file()]
    assert {path.stat().st_mtime_ns for path in mails if path.name.endswith("a.b")} == {
        1_234_567_890 * 10**9
    }
    assert connect(HOST).containers.list(all=True, filters={"volume": str(store.root)}) == []
