"""The server to prove: values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mailcrypt_component.dialects.dialect import Dialect
from mailcrypt_component.model.custody import Custody, IndexCache
from mailcrypt_component.model.docker_host import DockerHost, docker_host_of
from mailcrypt_component.model.swarm import Swarm, swarm_of

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Target:
    """A server to prove.

    ``container`` is an id or a name, ``key_ids`` the ring's (64 hex digits each),
    the current one first, ``account`` the probe's own mailbox, ``deadline`` seconds
    for it all.
    """

    docker_host: DockerHost
    container: str
    dialect: Dialect
    key_ids: tuple[str, ...]
    account: str
    deadline: float
    password: str = field(repr=False)
    given_up: tuple[str, ...] = ()
    """Ids of keys that are lost for good; mail that is encrypted to them stays unreadable."""
    custody: Custody = Custody.DISK
    index_cache: IndexCache = IndexCache.DISK
    """On ``disk``, words of the probe in Dovecot's index cache are no fault."""
    public_pems: tuple[str, ...] = ()
    """The ring's public keys, newest first."""
    private: bool = True
    """Whether the stack holds the private keys; False for a ring of public keys."""
    stack: str = "STACK"
    """The stack's name, for the commands in hints."""
    identity: str | None = None
    """The stack's identity, with which preflight marked the mail volume; None is not compared."""
    swarm: Swarm | None = None
    """On a Swarm, ``placed`` sets ``docker_host`` and ``container`` to those of the task."""

    @property
    def key_id(self) -> str:
        """The current key's id."""
        return self.key_ids[0]

    @property
    def version_1_ids(self) -> dict[str, str]:
        """The ring's key ids by the ids that mail of format version 1 carries."""
        from mailcrypt_component.dcrypt.keys import version_1_ids  # noqa: PLC0415  (slow)

        return version_1_ids(self.public_pems)

    @property
    def mail_folder(self) -> str:
        """The mailbox's path below the mail volume: domain/user."""
        user, _, domain = self.account.partition("@")
        return f"{domain}/{user}"

    @property
    def unlocking(self) -> str:
        """The command that unlocks it; a stack without the private keys needs the escrow file."""
        return "unlock" if self.private else "unlock --escrow FILE"

    def command(self, name: str) -> str:
        """Return a command line for a hint."""
        return f"mailcrypt {name} --stack {self.stack}"

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values, which ``target_of`` takes again; the password is in clear."""
        return {
            "dockerHost": self.docker_host.as_json(),
            "container": self.container,
            "dialect": self.dialect.value,
            "keyIds": list(self.key_ids),
            "account": self.account,
            "deadline": self.deadline,
            "password": self.password,
            "givenUp": list(self.given_up),
            "keyCustody": self.custody.value,
            "indexCache": self.index_cache.value,
            "publicPems": list(self.public_pems),
            "private": self.private,
            "stack": self.stack,
            "identity": self.identity,
            "swarm": self.swarm.as_json() if self.swarm else None,
        }


def target_of(facts: Mapping[str, Any]) -> Target:
    """Make the proof's target from the ``verifyTarget`` output's fields."""
    return Target(
        docker_host=docker_host_of(facts["dockerHost"]),
        container=facts["container"],
        dialect=Dialect(facts["dialect"]),
        key_ids=tuple(facts["keyIds"]),
        account=facts["account"],
        deadline=float(facts["deadline"]),
        password=facts["password"],
        given_up=tuple(facts.get("givenUp", ())),
        custody=Custody(facts.get("keyCustody", Custody.DISK)),
        index_cache=IndexCache(facts.get("indexCache", IndexCache.DISK)),
        public_pems=tuple(facts.get("publicPems", ())),
        private=facts.get("private", True),
        stack=facts.get("stack", "STACK"),
        identity=facts.get("identity"),
        swarm=swarm_of(facts["swarm"]) if facts.get("swarm") else None,
    )
