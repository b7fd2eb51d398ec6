"""Checks the TLS certificate that docker-mailserver will use.

With a missing file it stops when it starts (target/scripts/helpers/ssl.sh in its sources).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from mailcrypt_component.docker_api.run import execute
from mailcrypt_component.model import dms
from mailcrypt_component.model.certificates import (
    CertificateFault,
    check_pair,
    check_validity,
    covers,
)
from mailcrypt_component.model.errors import PreflightError
from mailcrypt_component.model.settings import TlsMode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from docker.models.containers import Container

    from mailcrypt_component.checks.preflight.plan import Plan

_LIVE: Final = "/etc/letsencrypt/live"
_ACME: Final = "/etc/letsencrypt/acme.json"


@dataclass(frozen=True, slots=True)
class Pair:
    """The files of a certificate chain and of its private key; may be one file."""

    chain: str
    key: str


def check_tls(container: Container, plan: Plan) -> list[str]:
    """Check the certificate; return warnings.

    Raises:
        PreflightError: The server would not start, or no mail program would accept it.

    """
    if plan.tls.mode is TlsMode.SELF_SIGNED:
        return []
    if plan.tls.mode is TlsMode.PROVIDED:
        return _check_provided(plan)
    kind = plan.environment.get("SSL_TYPE", "")
    if kind == "letsencrypt":
        return _check_letsencrypt(container, plan)
    if kind in {"", "snakeoil"}:
        return []
    warnings = []
    for pair in _pairs(plan, kind):
        missing = [path for path in (pair.chain, pair.key) if not _is_file(container, path)]
        if missing:
            raise _missing(plan, f"environment.SSL_TYPE {kind}", missing)
        warnings += _check_files(container, plan, pair)
    return warnings


def _check_provided(plan: Plan) -> list[str]:
    try:
        certificate = check_pair(plan.tls.certificate, plan.tls.private_key, where="tls")
        check_validity(certificate, datetime.now(UTC), where="tls.certificate")
    except CertificateFault as fault:
        raise _refusal(fault) from None
    return [] if covers(certificate, plan.hostname) else [_other_name(plan, "tls.certificate")]


def _pairs(plan: Plan, kind: str) -> list[Pair]:
    """Return the files that SSL_TYPE makes docker-mailserver read."""
    environment, folder = plan.environment, f"{dms.CONFIG_DIR}/ssl"
    if kind == "custom":
        return [Pair(*[f"{folder}/{_host(plan)}-full.pem"] * 2)]
    if kind == "self-signed":
        return [Pair(f"{folder}/{_host(plan)}-cert.pem", f"{folder}/{_host(plan)}-key.pem")]
    names = [("SSL_CERT_PATH", "SSL_KEY_PATH"), ("SSL_ALT_CERT_PATH", "SSL_ALT_KEY_PATH")]
    given = [(environment.get(chain, ""), environment.get(key, "")) for chain, key in names]
    # The first pair is required; without it docker-mailserver panics.
    return [Pair(*pair) for index, pair in enumerate(given) if index == 0 or all(pair)]


def _check_letsencrypt(container: Container, plan: Plan) -> list[str]:
    """Look in the folders in which docker-mailserver looks, in its order."""
    if _is_file(container, _ACME):
        return [f"{_ACME} was not checked: docker-mailserver extracts the certificate"]
    wildcard = plan.environment.get("SSL_DOMAIN", "").removeprefix("*.")
    domains = [wildcard, _host(plan), _host(plan).partition(".")[2]]
    folders = [f"{_LIVE}/{domain}" for domain in domains if domain]
    for folder in folders:
        chain = f"{folder}/fullchain.pem"
        if not _is_file(container, chain):
            continue
        for key in (f"{folder}/privkey.pem", f"{folder}/key.pem"):
            if _is_file(container, key):
                return _check_files(container, plan, Pair(chain, key))
        raise _missing(plan, "environment.SSL_TYPE letsencrypt", [f"{folder}/privkey.pem"])
    paths = [f"{folder}/fullchain.pem" for folder in folders]
    raise _missing(plan, "environment.SSL_TYPE letsencrypt", paths)


def _check_files(container: Container, plan: Plan, pair: Pair) -> list[str]:
    """Compare a pair in the container, so that its private key stays there."""
    chain = _output(container, ["cat", pair.chain])
    public = _output(container, ["openssl", "pkey", "-in", pair.key, "-pubout", "-passin", "pass:"])
    try:
        certificate = check_pair(chain, public, where=f"{pair.chain}, {pair.key}")
    except CertificateFault as fault:
        raise _refusal(fault) from None
    warnings = [] if covers(certificate, plan.hostname) else [_other_name(plan, pair.chain)]
    try:
        check_validity(certificate, datetime.now(UTC), where=pair.chain)
    except CertificateFault as fault:
        warnings.append(f"{fault.where}: {fault.found}")
    return warnings


def _host(plan: Plan) -> str:
    return plan.environment.get("OVERRIDE_HOSTNAME") or plan.hostname


def _is_file(container: Container, path: str) -> bool:
    return execute(container, ["test", "-f", path], timeout=30).exit_code == 0


def _output(container: Container, argv: Sequence[str]) -> str:
    """Return what a command prints, or nothing, which no PEM reader accepts."""
    done = execute(container, argv, timeout=30)
    return "" if done.exit_code else done.stdout.decode(errors="replace")


def _missing(plan: Plan, where: str, paths: Sequence[str]) -> PreflightError:
    folders = sorted({path.rpartition("/")[0] or "/" for path in paths})
    return PreflightError(
        f"docker-mailserver would stop when it starts: {' and '.join(paths) or 'no path'} "
        f"{'is' if len(paths) == 1 else 'are'} not there",
        where=where,
        expected=f"a certificate chain and its key for {plan.hostname}",
        hint=f"mount a folder that holds them at {', '.join(folders)} (setting mounts), or leave "
        "out environment.SSL_TYPE to get a self-signed certificate",
    )


def _other_name(plan: Plan, where: str) -> str:
    return f"{where}: the certificate does not name {plan.hostname}; mail programs will complain"


def _refusal(fault: CertificateFault) -> PreflightError:
    return PreflightError(fault.found, where=fault.where, expected=fault.expected, hint=fault.hint)
