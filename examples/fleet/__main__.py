"""A fleet: a mail server for each entry of a table, each with a key ring of its own.

A server that cannot be proven fails the update, and ``pulumi up --continue-on-error`` goes on with
the others.
"""

from pathlib import Path
from typing import NotRequired, TypedDict

import pulumi
import yaml

from mailcrypt_component import MailCryptServer


class Entry(TypedDict):
    """One line of the table."""

    domain: str
    dockerHost: str
    accounts: list[str]
    ports: NotRequired[dict[str, str]]


def declare(entry: Entry) -> MailCryptServer:
    """Declare the mail server of a domain."""
    domain = entry["domain"]
    return MailCryptServer(
        domain.replace(".", "-"),
        {
            "image": config.require("image"),
            "hostname": f"mail.{domain}",
            "accounts": [{"address": f"{user}@{domain}"} for user in entry["accounts"]],
            "dockerHost": entry["dockerHost"],
            "ports": entry.get("ports", {}),
            "protect": config.get_bool("protect", True),
            "keepMail": config.get_bool("keepMail", True),
        },
    )


config = pulumi.Config()
table = Path(config.get("table") or "fleet.yaml")
fleet: list[Entry] = yaml.safe_load(table.read_text())
servers = {entry["domain"]: declare(entry) for entry in fleet}

pulumi.export("keyIds", {domain: server.key_id for domain, server in servers.items()})
