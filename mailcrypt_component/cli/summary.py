"""What a person wants to know after ``make up``: ``python -m … STACK``."""

from __future__ import annotations

import sys

from mailcrypt_component.cli.stack_outputs import stack_outputs


def summary(stack: str) -> str:
    """Return the summary of a stack that is up; it shows no secret."""
    found = stack_outputs(stack)
    lines = [
        "",
        "A proven, encrypted mail server is up.",
        f"  container   {found['containerName']}, Dovecot {found['dovecotDialect']}",
        f"  image       {found['imageId']}",
        f"  key id      {found['keyId']}",
        f"  mail lies   {found['volumes']['mail']}",
        *(f"  {name:<11} {address}" for name, address in sorted(found["endpoints"].items())),
        *(f"  account     {address}" for address in found["accountPasswords"]),
    ]
    if found["accountPasswords"]:
        lines.append(f"  password    make password STACK={stack}")
    lines.append(f"  prove again make verify STACK={stack}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(summary(sys.argv[1]))
