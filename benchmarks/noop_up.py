"""Time an up in which nothing changes, against a bare program with the same resources.

The bare program declares the same resources inline, without gates, checks or questions to the
engine.  Both run in turn, so that the ratio holds when the machine drifts.

Run: make bench (or python -m benchmarks.noop_up [RUNS])
"""

import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.stacks import Stack

IMAGE = "mailcrypt-dms-dev:13"
SETTINGS = {"image": IMAGE, "tls": {"mode": "self-signed"}}
COMPONENTS = 3
"""Of each server: the server itself, its key ring and its configuration."""

BARE = """
import pulumi
import pulumi_docker as docker
import pulumi_tls as tls

HOST = "unix:///var/run/docker.sock"
paths = {"mail": "/var/mail", "state": "/var/mail-state", "logs": "/var/log/mail",
         "config": "/tmp/docker-mailserver"}


def declare(number):
    parts = [pulumi.ComponentResource(f"bare:index:Part{n}", f"part-{number}-{n}")
             for n in range(COMPONENTS)]
    inside = pulumi.ResourceOptions(parent=parts[0])

    def on_engine(*needs):
        return pulumi.ResourceOptions(parent=parts[0], provider=provider, depends_on=list(needs))

    def stash(name, value, *needs):
        opts = pulumi.ResourceOptions(parent=parts[0], depends_on=list(needs))
        return pulumi.Stash(f"{name}-{number}", input=value, opts=opts)

    provider = docker.Provider(f"docker-{number}", host=HOST, opts=inside) if PROVIDER else None
    image = docker.RemoteImage(f"image-{number}", name="IMAGE", keep_locally=True,
                               opts=on_engine())
    key = tls.PrivateKey(f"key-{number}", algorithm="ECDSA", ecdsa_curve="P256", opts=inside)
    tls_key = tls.PrivateKey(f"tls-key-{number}", algorithm="ECDSA", ecdsa_curve="P256",
                             opts=inside)
    certificate = tls.SelfSignedCert(
        f"tls-{number}", private_key_pem=tls_key.private_key_pem_pkcs8,
        allowed_uses=["server_auth"], validity_period_hours=87600, opts=inside,
    )
    secrets = [stash(f"secret-{n}", pulumi.Output.secret("0123456789abcdef" * 2))
               for n in range(2)]
    identity = stash("identity", "0123456789abcdef")
    claim = stash("claim", {"identity": identity.input, "volumes": list(paths)})
    volumes = {store: docker.Volume(f"{store}-{number}", opts=on_engine(claim)) for store in paths}
    tmpfs = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,mode=0700"}
    memory = {
        target: docker.Volume(f"memory-{number}-{n}", driver="local", driver_opts=tmpfs,
                              opts=on_engine(claim))
        for n, target in enumerate(("/certs/keys", "/run/cache"))
    }
    # Of its own, since Docker has addresses for some thirty networks and the fleet takes many.
    subnet = f"10.99.{number}.0/24"
    network = docker.Network(f"network-{number}", ipam_configs=[{"subnet": subnet}],
                             opts=on_engine(claim))
    stash("ring-guard", [key.public_key_pem], key)
    stash("volumes-guard", [volume.name for volume in volumes.values()], *volumes.values())
    facts = {"image": image.image_id, "network": network.name, "key": key.public_key_pem,
             "stores": {store: volume.name for store, volume in volumes.items()}}
    preflight = stash("preflight", facts, *volumes.values())
    accounts = stash("accounts", pulumi.Output.secret({"passwords": [s.input for s in secrets]}),
                     preflight)
    keeper = docker.Container(
        f"keeper-{number}", image=image.image_id, must_run=True,
        entrypoints=["sleep", "infinity"], network_mode="none",
        volumes=[{"volume_name": v.name, "container_path": p} for p, v in memory.items()],
        opts=on_engine(preflight),
    )
    unlock = stash("unlock", {"keeper": keeper.id, "key": key.public_key_pem}, keeper)
    text = "# a line of configuration, as long as such lines are\\n" * 40
    server = docker.Container(
        f"server-{number}", image=image.image_id, must_run=True,
        entrypoints=["sleep", "infinity"],
        envs=[f"NAME_{n}=value" for n in range(10)],
        networks_advanced=[{"name": network.name}],
        volumes=[
            {"volume_name": volumes[store].name, "container_path": path}
            for store, path in paths.items()
        ] + [{"volume_name": v.name, "container_path": p} for p, v in memory.items()],
        tmpfs={"/run/dovecot": "mode=0755"},
        uploads=[
            {"file": "/certs/tls.key", "content": tls_key.private_key_pem_pkcs8},
            {"file": "/certs/tls.pem", "content": certificate.cert_pem},
            *({"file": f"/etc/{n}.conf", "content": text} for n in range(6)),
        ],
        opts=on_engine(accounts, unlock, keeper),
    )
    proof = stash("proof", {"server": server.id, "keeper": keeper.id}, server)
    pulumi.export(f"id-{number}", pulumi.Output.all(server.id, proof.input).apply(lambda b: b[0]))


for number in range(SERVERS):
    declare(number)
"""


def bare(servers: int, *, provider: bool = False) -> str:
    """Return a program that declares the same resources inline, that many times."""
    values = {"COMPONENTS": COMPONENTS, "SERVERS": servers, "PROVIDER": provider, "IMAGE": IMAGE}
    text = BARE
    for name, value in values.items():
        text = text.replace(name, str(value))
    return text


def require_same_resources(ours: Stack, plain: Stack) -> None:
    """Check that both programs have declared as many resources of each type.

    Raises:
        SystemExit: They have not.

    """
    mine, theirs = (_types(stack) for stack in (ours, plain))
    if mine != theirs:
        raise SystemExit(f"not the same resources: {mine - theirs} and {theirs - mine}")


def _types(stack: Stack) -> Counter[str]:
    types = (one["type"] for one in json.loads(stack.state())["deployment"]["resources"])
    own = ("mailcrypt:", "bare:")
    return Counter("component" if name.startswith(own) else name for name in types)


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
            require_same_resources(ours, plain)
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
