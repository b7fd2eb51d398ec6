"""One mail volume through both Dovecots and through rotations of the ring."""

import pytest

from tests.stacks import changed
from tests.store import valid

CHECKED = {"mailcrypt-preflight", "mailcrypt-server", "mailcrypt-proof"}
pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def stack(make_stack):
    """A server on Debian 12 (Dovecot 2.3) with one stored mail."""
    stack = make_stack("keys", image="mailcrypt-dms-dev:12")
    stack.green()
    stack.save("encrypted to k1 by Dovecot 2.3")
    return stack


def test_the_image_is_asked_where_no_dialect_is_stated(stack):
    """An unknown tag is no reason to guess."""
    assert stack.outputs()["dovecotDialect"] == "2.3"


@pytest.mark.long
def test_save_version_0_in_dovecot_cf_is_red_until_it_is_gone(stack):
    """The fault that stores in clear without any error is seen on the file itself."""
    config = "/tmp/docker-mailserver/dovecot.cf"
    stack.run(f"cat > {config}", stdin="plugin {\n  mail_crypt_save_version = 0\n}\n")
    printed = stack.red(environment={"LOG_LEVEL": "debug"}, stopUnproven=False)
    assert "lies in clear" in printed
    assert "lies in clear" in stack.red()
    stack.run(f"rm {config}")
    stack.green(environment=None, stopUnproven=None)


def test_a_ring_that_cannot_open_stored_mail_is_refused(stack):
    """Counts and the key id are named, and the running server is not touched."""
    before, key_id = stack.container_id(), stack.outputs()["keyId"]
    printed = stack.red(keys=[{"name": "k2"}])
    assert f"1 mail is encrypted to key {key_id}" in printed
    assert "example.test/user 1" in printed
    assert stack.container_id() == before
    stack.configure(keys=None)


def test_rotation_keeps_old_mail_readable(stack):
    """New mail is encrypted to the new key, old mail is still read."""
    old = stack.outputs()["keyId"]
    printed = stack.green(keys=[{"name": "k2"}, {"name": "k1"}])
    # The key itself was made by the update that preflight refused.
    assert changed(printed) == {"mailcrypt-ring-guard", "mailcrypt-unlock", *CHECKED}
    assert stack.outputs()["keyIds"][1] == old
    assert stack.outputs()["keyId"] != old
    stack.save("encrypted to k2 by Dovecot 2.3")
    assert "encrypted to k1 by Dovecot 2.3" in stack.read_all()


def test_a_retired_key_that_opens_nothing_is_found_out(stack):
    """The proof opens a stored mail of each key, not only its own."""
    other = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256"
    keeper = ["exec", f"{stack.container}-keeper", "sh", "-ec"]
    stack.docker(*keeper, f"cp -p /certs/k1.pem /certs/kept; {other} > /certs/k1.pem")
    stack.run("doveadm reload; sleep 1")
    failed = stack.verify("--json")
    stack.docker(*keeper, "mv /certs/kept /certs/k1.pem")
    stack.run("doveadm reload; sleep 1")
    assert failed.returncode == 1, failed.stdout
    found = valid(failed.stdout, "verify")["found"]
    assert "no file holds 1 private key of the ring" in found or "cannot open" in found, found
    assert stack.verify().returncode == 0


def test_the_step_to_dovecot_2_4_keeps_all_mail_readable(stack):
    """The same volume, the other dialect, a retired key: everything is read."""
    printed = stack.green(image="mailcrypt-dms-dev:13")
    keys_and_keeper = {"mailcrypt-keeper", "mailcrypt-unlock"}
    assert changed(printed) == {"mailcrypt-image", *keys_and_keeper, *CHECKED}
    assert stack.outputs()["dovecotDialect"] == "2.4"
    stack.save("encrypted to k2 by Dovecot 2.4")
    mail = stack.read_all()
    for body in ("k1 by Dovecot 2.3", "k2 by Dovecot 2.3", "k2 by Dovecot 2.4"):
        assert f"encrypted to {body}" in mail


def test_nothing_is_left_to_do_after_the_step(stack):
    """The next up changes nothing."""
    assert "mailcrypt-proof" not in stack.green()


@pytest.mark.long
def test_destroy_leaves_nothing(make_stack):
    """No container, network or volume of the stack is there any more."""
    stack = make_stack("gone", image="mailcrypt-dms-dev:13", dialect="2.4")
    stack.green()
    stack.destroy()
    for kind in (["ps", "-a"], ["volume", "ls"], ["network", "ls"]):
        assert stack.container not in stack.docker(*kind)


@pytest.mark.long
def test_a_protected_stack_refuses_to_be_destroyed(make_stack):
    """The server runs on, keys and volumes stay, and the message says how to give them up."""
    stack = make_stack("kept", image="mailcrypt-dms-dev:13", dialect="2.4", protect=True)
    stack.green()
    before = stack.container_id()
    refused = stack.pulumi("destroy", "--yes", "--stack", stack.name)
    assert refused.returncode != 0
    assert "pulumi state unprotect" in refused.stdout
    assert stack.container_id() == before
    stack.green(protect=False)


@pytest.mark.long
@pytest.mark.parametrize(("image", "dialect"), [("12", "2.3"), ("13", "2.4")])
def test_a_lost_key_is_given_up_by_its_id(make_stack, image, dialect):
    """Refused before the server is touched; then all works but the mail that is encrypted to it."""
    stack = make_stack(f"lost{image}", image=f"mailcrypt-dms-dev:{image}", dialect=dialect)
    stack.green()
    lost, before = stack.outputs()["keyId"], stack.container_id()
    stack.save("encrypted to the lost key")
    printed = stack.red(keys=[{"name": "k2"}])
    assert f"1 mail is encrypted to key {lost} (example.test/user 1)" in printed
    assert f"mailcrypt encrypt --stack {stack.name} --apply" in printed
    assert "is encrypted to key" in stack.red(giveUpKeys=["0" * 64])
    assert stack.container_id() == before
    printed = stack.green(keys=[{"name": "k2"}], giveUpKeys=[lost])
    assert "1 unreadable (giveUpKeys)" in printed
    assert stack.outputs()["keyIds"] != [lost]
    assert "1 mail is encrypted to key" in stack.red(giveUpKeys=None)
    stack.configure(giveUpKeys=[lost])
