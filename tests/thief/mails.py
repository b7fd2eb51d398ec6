"""Mail on its way through a server, and clients that look at it as mail programs do.

Every word that only the mail's readers may know begins with one mark, followed by its kind.
"""

import imaplib
import secrets
import smtplib
import ssl
import string
import time
from contextlib import contextmanager
from email.message import EmailMessage

USER, OTHER = "user@example.test", "other@example.test"
ACCOUNTS = [{"address": USER}, {"address": OTHER}]
SECONDS = 60
LARGE = 200_000
# What stays readable: with this in a Message-ID, the search must find it in the logs.
CONTROL = "control"

SIEVE = f"""
require ["fileinto", "mailbox", "copy"];
if header :contains "subject" "filed" {{ fileinto :create "Filed"; }}
if header :contains "subject" "forwarded" {{ redirect :copy "{OTHER}"; }}
"""

_INSTALL_SIEVE = """
cd /var/mail/example.test
install -d -o docker -g docker user user/home
cat > user/home/.dovecot.sieve
chown docker:docker user/home/.dovecot.sieve
"""

_UNVERIFIED = ssl.create_default_context()
_UNVERIFIED.check_hostname = False
_UNVERIFIED.verify_mode = ssl.CERT_NONE


def new_mark():
    """Return twelve letters that nothing else holds."""
    return "zq" + "".join(secrets.choice(string.ascii_lowercase) for _ in range(9)) + "q"


def small_mail(mark, kind, sender=OTHER):
    """Return a mail whose subject, sender's name and text are marked."""
    mail = EmailMessage()
    mail["From"] = f"{mark}sender <{sender}>"
    mail["To"] = USER
    mail["Subject"] = f"{kind} {mark}subject"
    mail["Message-ID"] = f"<{CONTROL}.{secrets.token_hex(8)}@example.test>"
    mail.set_content(f"{mark}text {kind}\n" * 20)
    return mail


def large_mail(mark):
    """Return a mail of 200 kB with an attachment; every line of both is marked."""
    mail = small_mail(mark, "large")
    mail.set_content(f"{mark}large 0123456789 0123456789 0123456789\n" * (LARGE // 60))
    content = f"{mark}{'.' * (57 - len(mark))}".encode() * (LARGE // 57)
    mail.add_attachment(content, maintype="application", subtype="x", filename=f"{mark}name.bin")
    return mail


@contextmanager
def near(stack):
    """Let this thread open connections to the stack's server; give its address."""
    if hasattr(stack, "near"):
        with stack.near() as address:
            yield address
    else:
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        yield stack.docker("inspect", "-f", form, stack.container).strip()


def password_of(stack, user):
    """Return the password that was made for an account; it is asked of the stack only once."""
    if not hasattr(stack, "passwords"):
        stack.passwords = stack.outputs()["accountPasswords"]
    return stack.passwords[user]


@contextmanager
def submission(stack, user=USER, timeout=SECONDS):
    """Give an authenticated connection to the submission port."""
    with near(stack) as address:
        client = smtplib.SMTP(address, 587, timeout=timeout)
    with client:
        client.starttls(context=_UNVERIFIED)
        client.login(user, password_of(stack, user))
        yield client


@contextmanager
def imap(stack, user=USER, timeout=SECONDS):
    """Give an authenticated IMAP connection."""
    with near(stack) as address:
        client = imaplib.IMAP4(address, timeout=timeout)
    with client:
        client.starttls(_UNVERIFIED)
        client.login(user, password_of(stack, user))
        yield client


def install_sieve(stack):
    """Give the user a script that files some mails and forwards others."""
    stack.run(_INSTALL_SIEVE, stdin=SIEVE)


def send_all(stack, mark):
    """Send mail on every path that leads into a mailbox; wait until all of it has arrived."""
    before = {user: number_of_mails(stack, "INBOX", user) for user in (USER, OTHER)}
    install_sieve(stack)
    with submission(stack, OTHER) as client:
        for mail in (small_mail(mark, "plain"), large_mail(mark), small_mail(mark, "forwarded")):
            client.send_message(mail)
        client.send_message(small_mail(mark, "filed"))
    with near(stack) as address:  # Port 25 lets nobody in before postscreen has waited.
        client = smtplib.SMTP(address, timeout=SECONDS)
    with client:
        client.send_message(small_mail(mark, "outside"))
    bounced = small_mail(mark, "bounced", USER).as_string()
    stack.run(f"sendmail -f {USER} nobody@example.test", stdin=bounced)
    wait_for_mails(stack, USER, before[USER] + 5)
    wait_for_mails(stack, OTHER, before[OTHER] + 1)


def number_of_mails(stack, folder="INBOX", user=USER):
    """Return how many mails lie in a folder."""
    with imap(stack, user) as client:
        said, (found,) = client.select(folder, readonly=True)
        return int(found) if said == "OK" else 0


def wait_for_mails(stack, user, number, seconds=SECONDS):
    """Wait until that many mails lie in the inbox."""
    end = time.monotonic() + seconds
    while (found := number_of_mails(stack, user=user)) < number:
        assert time.monotonic() < end, f"{found} of {number} mails of {user}"
        time.sleep(0.2)


def look_as_clients(stack, mark):
    """Fetch, search, copy, move and append as mail programs do."""
    preview = " PREVIEW" if stack.config["dialect"] == "2.4" else ""
    with imap(stack) as client:
        _ok(client.select("INBOX"))
        _ok(client.fetch("1:*", f"(FLAGS ENVELOPE BODYSTRUCTURE INTERNALDATE{preview})"))
        _ok(client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT FROM TO)])"))
        said, bodies = client.fetch("1:*", "(BODY[])")
        assert said == "OK"
        assert f"{mark}text".encode() in b"".join(b[1] for b in bodies if isinstance(b, tuple))
        for criterion in ("TEXT", "SUBJECT", "BODY"):
            said, (found,) = client.search(None, criterion, f"{mark}")
            assert said == "OK"
            assert found
        for folder in ("Kept", "Drafts"):
            client.create(folder)
        _ok(client.copy("1:*", "Kept"))
        _ok(client._simple_command("MOVE", "1", "Kept"))
        draft = f"Subject: {mark}draft\r\n\r\n{mark}draft\r\n".encode() * 3
        _ok(client.append("Drafts", r"(\Draft)", None, draft))
        _ok(client.select("Kept"))
        _ok(client.fetch("1:*", f"(ENVELOPE BODYSTRUCTURE BODY.PEEK[TEXT]{preview})"))


def _ok(answer):
    assert answer[0] == "OK", answer
