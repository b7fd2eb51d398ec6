"""Time an up in which nothing changes, against a bare program with the same resources.

The bare program declares the same resources inline, without component, gates or
validation. Both run in turn, so that the ratio holds when the machine drifts.

Run: make bench (or python -m benchmarks.noop_up [RUNS])
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.stacks import Stack

SETTINGS = {"image": "mailcrypt-dms-dev:13", "dialect": "2.4", "tls": {"mode": "self-signed"}}

BARE = """
import pulumi
import pulumi_docker as docker
import pulumi_tls as tls

image = docker.RemoteImage("image", name="mailcrypt-dms-dev:13", keep_locally=True)
paths = ["/var/mail", "/var/mail-state", "/var/log/mail", "/tmp/docker-mailserver"]
for number in range(SERVERS):
    key = tls.PrivateKey(f"key-{number}", algorithm="ECDSA", ecdsa_curve="P256")
    tls_key = tls.PrivateKey(f"tls-key-{number}", algorithm="ECDSA", ecdsa_curve="P256")
    certificate = tls.SelfSignedCert(
        f"tls-{number}", private_key_pem=tls_key.private_key_pem_pkcs8,
        allowed_uses=["server_auth"], validity_period_hours=87600,
    )
    volumes = [docker.Volume(f"bare-{number}-{n}") for n in ("mail", "state", "logs", "config")]
    # Of its own, since Docker has addresses for some thirty networks and the fleet takes many.
    subnet = f"10.99.{number}.0/24"
    network = docker.Network(f"network-{number}", ipam_configs=[{"subnet": subnet}])
    for n in range(5):
        pulumi.Stash(f"stash-{number}-{n}", input={"n": n})
    server = docker.Container(
        f"server-{number}", image=image.image_id, must_run=True,
        entrypoints=["sleep"], command=["infinity"],
        networks_advanced=[{"name": network.name}],
        volumes=[{"volume_name": v.name, "container_path": p} for v, p in zip(volumes, paths)],
        tmpfs={"/run/dovecot": "mode=0755"},
        uploads=[
            {"file": "/certs/k1.pem", "content": key.private_key_pem_pkcs8, "permissions": "0600"},
            {"file": "/certs/tls.pem", "content": certificate.cert_pem, "permissions": "0644"},
        ],
    )
    pulumi.export(f"id-{number}", server.id)
"""


def bare(servers: int) -> str:
    """Return a program that declares the same resources inline, that many times."""
    return BARE.replace("SERVERS", str(servers))


def seconds(stack: Stack) -> float:
    """Return how long one up takes in which nothing changes."""
    start = time.perf_counter()
    printed = stack.green()
    took = time.perf_counter() - start
    if "unchanged" not in printed or " created" in printed or " updated" in printed:
        raise SystemExit(f"something changed:\n{printed}")
    return took


def main(runs: int) -> None:
    """Print both medians and the median of the ratios."""
    with tempfile.TemporaryDirectory() as folder:
        stacks = []
        for name in ("ours", "bare"):
            (Path(folder) / name).mkdir()
            stacks.append(Stack(Path(folder) / name, f"bench-{name}"))
        ours, plain = stacks
        (plain.folder / "stacks/__main__.py").write_text(bare(1))
        try:
            ours.green(**SETTINGS)
            plain.green(**SETTINGS)
            pairs = [(seconds(ours), seconds(plain)) for _ in range(runs)]
        finally:
            for stack in stacks:
                stack.destroy()
    report(pairs)


def report(pairs: Sequence[tuple[float, float]]) -> None:
    """Print both medians and the median of the ratios, each with its span."""
    for name, values in zip(("component", "bare"), zip(*pairs, strict=True), strict=True):
        print(f"{name:<10} {statistics.median(values):.2f} s  {min(values):.2f}-{max(values):.2f}")
    ratios = [mine / theirs for mine, theirs in pairs]
    print(f"ratio      {statistics.median(ratios):.2f}    {min(ratios):.2f}-{max(ratios):.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
