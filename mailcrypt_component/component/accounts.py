"""Declares the generated passwords, and the gate that writes the mail accounts."""

import secrets
from dataclasses import dataclass
from typing import Any

import pulumi

from mailcrypt_component.component.gates import GateRun, gate, generate_once
from mailcrypt_component.component.scope import Scope
from mailcrypt_component.model.accounts import Account, AccountsPlan
from mailcrypt_component.model.settings import AccountSettings


@dataclass(frozen=True)
class Accounts:
    """The gate that writes the accounts, the probe's password, and the generated passwords."""

    written: pulumi.Stash
    probe_password: pulumi.Output[str]
    made_passwords: dict[str, pulumi.Output[str]]


def declare_accounts(
    scope: Scope, image: pulumi.Output[str], config: pulumi.Output[str], preflight: pulumi.Resource
) -> Accounts:
    """Declare the gate that writes the mail accounts, the probe's included."""
    made: dict[str, pulumi.Output[str]] = {}
    probe = generate_once(f"{scope.name}-probe-password", secrets.token_urlsafe(24), scope.child())
    declared = pulumi.Output.secret(
        [_account_facts(scope, account, made) for account in scope.settings.accounts]
    )
    address = scope.settings.probe_address
    wanted = pulumi.Output.all(scope.docker_host, image, config, declared, probe).apply(
        lambda found: AccountsPlan(
            docker_host=found[0],
            image=found[1],
            config=found[2],
            declared=tuple(Account(**account) for account in found[3]),
            probe=Account(address, password=found[4]),
        )
    )
    facts = {
        "config": config,
        "accounts": declared,
        "probe": address,
        "probeAlias": address,  # Forces one update, so that existing servers get the alias.
        "probePassword": probe,
    }
    opts = scope.child(depends_on=[preflight])
    written = gate(f"{scope.name}-accounts", facts, _write_accounts, wanted, opts)
    return Accounts(written, probe, made)


def _account_facts(
    scope: Scope, account: AccountSettings, made: dict[str, pulumi.Output[str]]
) -> dict[str, Any]:
    if account.password_hash is not None:
        return {"address": account.address, "password_hash": account.password_hash}
    password = account.password
    if password is None:
        name = f"{scope.name}-password-{account.address}"
        password = generate_once(name, secrets.token_urlsafe(15), scope.child())
        made[account.address] = password
    return {"address": account.address, "password": password}


def _write_accounts(wanted: AccountsPlan, _: GateRun) -> str:
    from mailcrypt_component.checks.accounts import write_accounts  # noqa: PLC0415

    return write_accounts(wanted)
