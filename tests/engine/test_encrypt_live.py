"""Encrypting stored mail while clients use a running Dovecot: they see no difference."""

import os
import random
import re
import shlex
import subprocess
import threading
import time
from collections import Counter

import pytest

from mailcrypt_component.dcrypt.decrypt import decrypt_bytes
from mailcrypt_component.store.local.walk import count
from tests.stacks import ALL, changed
from tests.store import Key, Store, kill_all, valid

pytestmark = [pytest.mark.engine, pytest.mark.long, pytest.mark.timeout(3000)]

MAILS = 20_000 if ALL else 300
KILLS = 20 if ALL else 3
START_UP = {"--stack": 2.5, "--escrow": 0.4}
OWNER = 5000
USER = "user@example.test"
IMAP = f"/usr/lib/dovecot/imap -u {USER}"
CURRENT, RETIRED = Key(), Key()
KEYS = [{"name": "k2", "pem": CURRENT.pem}, {"name": "k1", "pem": RETIRED.pem}]


def plain(number):
    return f"Subject: {number}\n\nmail number {number}.\n{'x' * (number % 97)}\n".encode()


def listed(stack, folder):
    """Return what IMAP says of each mail, by its UID: all that must stay."""
    asked = (
        f"a SELECT {folder}\r\n"
        "b FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])\r\nc LOGOUT\r\n"
    )
    said = stack.run(IMAP, stdin=asked)
    found = {}
    for part in re.split(r"^\* \d+ FETCH ", said, flags=re.MULTILINE)[1:]:
        uid = int(re.search(r"UID (\d+)", part).group(1))
        flags = frozenset(re.search(r"FLAGS \(([^)]*)\)", part).group(1).split())
        date = re.search(r'INTERNALDATE "([^"]*)"', part).group(1)
        size = re.search(r"RFC822.SIZE (\d+)", part).group(1)
        number = int(re.search(r"mail number (\d+)", part).group(1))
        found[uid] = number, flags - {"\\Recent", "\\Flagged"}, date, size
    return re.search(r"UIDVALIDITY (\d+)", said).group(1), found


@pytest.fixture(params=["12", "13"], ids=["2.3", "2.4"])
def stack(request, make_stack, tmp_path_factory):
    """A server with mail in clear, mail under a retired key and mail under the current one."""
    folder = tmp_path_factory.mktemp("mail")
    for parent in (folder, folder.parent, folder.parent.parent):
        parent.chmod(0o755)
    stack = make_stack(
        f"encrypt{request.param}",
        image=f"mailcrypt-dms-dev:{request.param}",
        binds={"mail": str(folder)},
        keys=KEYS,
    )
    stack.mail = folder
    stack.green()
    stack.run(f"doveadm mailbox create -u {USER} Archive")
    store = Store(folder)
    for number in range(MAILS):
        where = {"user": "example.test/user", "mtime": 1_500_000_000 + 61 * number}
        if number % 3:
            store.encrypt(plain(number), (CURRENT, RETIRED)[number % 2], **where)
        else:
            store.put(plain(number), **where)
    for path in (folder / "example.test/user").rglob("*"):
        os.chown(path, OWNER, OWNER)
    return stack


class Use(threading.Thread):
    """Uses the mailbox all the time: new mail comes, flags change, mails are moved and removed."""

    def __init__(self, stack, uids):
        super().__init__()
        self.moved, self.removed, self.sent, self.refused = set(), set(), [], []
        self._stack, self._chance = stack, random.Random(1)
        self._uids, self._ended = list(uids), threading.Event()

    def run(self):
        while not self._ended.is_set():
            self._chance.shuffle(self._uids)
            flagged = ",".join(map(str, self._uids[:200]))
            moved, removed = self._uids.pop(), self._uids.pop()
            sign = self._chance.choice("+-")
            said = self._imap(
                "a SELECT INBOX\r\n"
                f"b UID STORE {flagged} {sign}FLAGS (\\Flagged)\r\n"
                f"c UID MOVE {moved} Archive\r\n"
                f"d UID STORE {removed} +FLAGS (\\Deleted)\r\ne UID EXPUNGE {removed}\r\n"
                "f LOGOUT\r\n",
            )
            if len(re.findall(r"^[a-f] OK", said, re.MULTILINE)) < len("abcdef"):
                self.refused.append(said)
            self.moved.add(moved)
            self.removed.add(removed)
            number = MAILS + len(self.sent)
            self._stack.run(f"sendmail -f {USER} {USER}", stdin=plain(number).decode())
            self.sent.append(number)

    def _imap(self, asked):
        """Run a session; one that a busy server has refused before its first command, again."""
        for _ in range(20):
            try:
                return self._stack.run(IMAP, stdin=asked)
            except AssertionError as error:
                if "auth-userdb" not in str(error):
                    raise
                time.sleep(0.5)
        raise AssertionError("the server refused every session")

    def end(self):
        self._ended.set()
        self.join()
        # Of pipelined commands, Dovecot leaves out an expunge now and then, encrypted or not.
        self._imap("a SELECT INBOX\r\nb EXPUNGE\r\nc LOGOUT\r\n")
        self._stack.run(
            "postqueue -f; for i in $(seq 300); do"
            " mailq | grep -q empty && exit 0; sleep 0.1; done; exit 1"
        )


def encrypting(stack, folder):
    """Return the command that encrypts the mail: through Docker, or in its folder."""
    if stack.config["image"].endswith("13"):
        return ["mailcrypt", "encrypt", "--stack", stack.name, "--apply", "--json"]
    (folder / "pass").write_text("correct horse battery\n")
    kept = ["--passphrase-file", str(folder / "pass")]
    ring = str(folder / "ring.txt")
    assert stack.mailcrypt("escrow", "--out", ring, *kept).returncode == 0
    argv = ["mailcrypt", "encrypt", "--escrow", ring, *kept, "--to", CURRENT.id]
    return [*argv, "--apply", "--json", str(stack.mail)]


def kill_again_and_again(stack, argv):
    """Start it and kill it at random moments, its helpers too; nothing of it stays."""
    chance = random.Random(2)
    # One that was made and not yet started waits for the next throw-away container's sweep.
    listing = "ps", "-q", "--filter", "name=mailcrypt-encrypt-"
    before = set(stack.docker(*listing).split())
    for _ in range(KILLS):
        running = subprocess.Popen(
            argv,
            cwd=stack.folder,
            env=stack.environment,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(START_UP[argv[2]] + chance.uniform(0, 3.0 if ALL else 0.8))
        kill_all(running)
        print("killed; now there are", count(str(stack.mail)).states())
    for _ in range(300):
        if not set(stack.docker(*listing).split()) - before:
            return
        time.sleep(0.1)
    raise AssertionError(stack.docker("ps", "-a"))


def test_clients_see_no_difference_and_dovecot_no_error(stack, tmp_path):
    """Each mail is there once, with the UID, flags, date, size and bytes that it had."""
    argv = encrypting(stack, tmp_path)
    validity, before = listed(stack, "INBOX")
    assert len(before) == MAILS
    assert set(count(str(stack.mail)).states()) == {CURRENT.id, RETIRED.id, "clear"}

    use = Use(stack, before)
    use.start()
    kill_again_and_again(stack, argv)
    done = subprocess.run(
        argv, cwd=stack.folder, env=stack.environment, capture_output=True, text=True, check=False
    )
    use.end()
    assert done.returncode == 0, done.stdout + done.stderr
    print(shlex.join(argv), valid(done.stdout, "encrypt"), len(use.moved), len(use.sent))

    assert use.refused == []
    after_validity, after = listed(stack, "INBOX")
    assert after_validity == validity
    gone = use.moved | use.removed
    assert {uid: mail for uid, mail in after.items() if uid in before} == {
        uid: mail for uid, mail in before.items() if uid not in gone
    }
    assert sorted(mail[0] for uid, mail in after.items() if uid not in before) == use.sent
    archive = [(mail[0], *mail[2:]) for mail in listed(stack, "Archive")[1].values()]
    assert Counter(archive) == Counter((before[uid][0], *before[uid][2:]) for uid in use.moved)

    assert count(str(stack.mail)).states() == {CURRENT.id: len(after) + len(archive)}
    files = [path for path in stack.mail.rglob("*") if path.parent.name in {"cur", "new"}]
    stored = Counter(decrypt_bytes(path.read_bytes(), CURRENT.ring) for path in files)
    kept = {before[uid][0] for uid in before if uid not in use.removed}
    assert all(stored[plain(number)] == 1 for number in kept)
    assert stored.total() == len(kept) + len(use.sent)
    assert not list(stack.mail.rglob("tmp/*"))
    log = stack.run("cat /var/log/mail/mail.log")
    assert not re.findall(
        r"(?i)^.*(?:corrupt|panic|cached message size|Error:).*$", log, re.MULTILINE
    )

    # The retired key can be dropped now, and the next up has nothing to do.
    stack.green(keys=KEYS[:1])
    assert listed(stack, "INBOX")[1] == after
    assert changed(stack.green()) == set()
