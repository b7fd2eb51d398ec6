"""The merge of declared accounts into docker-mailserver's account file."""

import bcrypt

from mailcrypt_component.model.accounts import Account, keep_to_itself, merge

PROBE = Account("mailcrypt-probe@example.test", password="p")
BY_HAND = "hand@example.test|{SHA512-CRYPT}$6$x|userdb_quota_rule=*:bytes=1G\n"


def lines_of(text):
    return {line.split("|")[0]: line for line in text.splitlines()}


def test_declared_accounts_and_the_probe_are_written():
    """Each line has a bcrypt hash of the password, never the password itself."""
    merged = merge("", "", "", [Account("a@example.test", password="secret")], PROBE)
    lines = lines_of(merged.accounts)
    stored = lines["a@example.test"].partition("{BLF-CRYPT}")[2]
    assert bcrypt.checkpw(b"secret", stored.encode())
    assert "secret" not in merged.accounts
    assert PROBE.address in lines


def test_an_account_that_was_added_by_hand_survives():
    """Its line stays unchanged, and so do comments."""
    text = f"# mine\n{BY_HAND}"
    merged = merge(text, "", "", [Account("a@example.test", password_hash="{X}y")], PROBE)
    assert merged.accounts.startswith(text)


def test_an_account_that_is_no_longer_declared_is_removed():
    """Only accounts that were declared before are removed."""
    first = merge(BY_HAND, "", "", [Account("a@example.test", password="x")], PROBE)
    second = merge(first.accounts, first.receive_access, first.record, [], PROBE)
    assert set(lines_of(second.accounts)) == {"hand@example.test", PROBE.address}


def test_a_password_that_has_not_changed_keeps_its_hash():
    """A second merge changes nothing, so no user has to log in again."""
    declared = [Account("a@example.test", password="x")]
    first = merge(BY_HAND, "", "", declared, PROBE)
    assert merge(first.accounts, first.receive_access, first.record, declared, PROBE) == first


def test_a_changed_password_gets_a_new_hash():
    """The old password no longer opens the account, and the quota stays."""
    old = "a@example.test|{BLF-CRYPT}$2b$04$" + "x" * 53 + "|userdb_quota_rule=*:bytes=1G\n"
    merged = merge(old, "", "", [Account("a@example.test", password="new")], PROBE)
    line = lines_of(merged.accounts)["a@example.test"]
    assert "x" * 53 not in line
    assert line.endswith("|userdb_quota_rule=*:bytes=1G")


def test_the_probe_takes_no_mail_from_outside():
    """The probe is rejected as a recipient, and restrictions made by hand stay."""
    merged = merge("", "other@example.test REJECT\n", "", [], PROBE)
    assert merged.receive_access == f"other@example.test REJECT\n{PROBE.address} REJECT\n"


def test_no_value_shows_a_password():
    """Neither an account nor the merged text is readable in a traceback."""
    declared = Account("a@example.test", password="s3cret")
    assert "s3cret" not in repr(declared) + repr(merge("", "", "", [declared], PROBE))


def test_no_catch_all_takes_the_mail_of_the_probe():
    """Only an earlier probe's alias is removed, and all other lines stay in their order."""
    mine = "# mine\n@example.test a@example.test\n  b@example.test\n"
    old = "mailcrypt-probe@old.test mailcrypt-probe@old.test\n"
    kept = keep_to_itself(old + mine, "mailcrypt-probe@old.test\n", PROBE)
    assert kept == f"{mine}{PROBE.address} {PROBE.address}\n"
    assert keep_to_itself(kept, PROBE.address, PROBE) == kept
