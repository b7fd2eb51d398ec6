"""Preflight on a real Docker engine, without Pulumi: each healthy plan and its sabotaged twins."""

import json
import subprocess
from dataclasses import replace

import pytest

from mailcrypt_component.checks.preflight.claim import claim_names
from mailcrypt_component.checks.preflight.plan import Claim, Plan, facts_of, previous_of
from mailcrypt_component.checks.preflight.run import run_preflight
from mailcrypt_component.dialects.compiler import render
from mailcrypt_component.dialects.dialect import Dialect
from mailcrypt_component.model.docker_host import DockerHost
from mailcrypt_component.model.errors import PreflightError
from mailcrypt_component.model.identity import MARK_FILE, new_identity
from mailcrypt_component.model.key_ring import model_of
from mailcrypt_component.model.settings import MountSettings, PortSettings, TlsMode, TlsSettings
from tests.certificates import pair
from tests.stacks import MARK

pytestmark = pytest.mark.server

IMAGE = "mailcrypt-dms-dev:13"
HOST = "mail.example.test"
NAME = f"{MARK}-plan"
STORES = ("mail", "state", "logs", "config")
EVERYWHERE = "0.0.0.0"
LIVE = f"/etc/letsencrypt/live/{HOST}"


def docker(*argv, stdin=""):
    done = subprocess.run(
        ["docker", *argv], input=stdin, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def in_volume(name, script, stdin=""):
    """Run a shell script in a container that has a volume at /v."""
    argv = ["run", "--rm", "-i", "--network", "none", "-v", f"{name}:/v", "--entrypoint", "sh"]
    return docker(*argv, IMAGE, "-euc", script, stdin=stdin)


@pytest.fixture(scope="module")
def network():
    docker("network", "create", NAME)
    yield NAME
    docker("network", "rm", NAME)


@pytest.fixture
def plan(network):
    """A plan that holds, with empty volumes of its own."""
    sources = {store: f"{NAME}-{store}" for store in STORES}
    for name in sources.values():
        docker("volume", "create", name)
    yield Plan(
        docker_host=DockerHost(),
        stack="test",
        server=NAME,
        identity=new_identity(),
        adopt=None,
        image=IMAGE,
        hostname=HOST,
        network=network,
        dialect=Dialect.V2_4,
        files=render(model_of(["k1"]), Dialect.V2_4),
        kinds={"k1": "P256"},
        key_ids=("0" * 64,),
        given_up=(),
        sources=sources,
        mounts=(),
        ports=(PortSettings(143, 21461, "127.0.0.1"),),
        environment={},
        tls=TlsSettings(TlsMode.SELF_SIGNED),
        deadline=60,
        count_deadline=60,
    )
    docker("volume", "rm", "-f", *sources.values())


def put_mail(store, number=1):
    """Store mails that are not encrypted."""
    script = "mkdir -p /v/example.test/user/cur; for n in $(seq $0); do echo plain"
    script += " > /v/example.test/user/cur/$n.a.b:2,S; done"
    in_volume(store, script.replace("$0", str(number)))


def refusal(plan, previous=None):
    with pytest.raises(PreflightError) as caught:
        run_preflight(plan, previous)
    assert caught.value.expected
    assert caught.value.hint
    return str(caught.value)


def held(plan):
    """Run preflight, which must hold, and return the facts that the next run gets."""
    run_preflight(plan, None)
    return previous_of(json.loads(json.dumps(facts_of(plan))))


def marks(store):
    return in_volume(store, f"cat /v/{MARK_FILE} 2>/dev/null || true")


def test_a_plan_that_works_marks_the_mail_store(plan):
    """The mark holds the identity, and has the owner that docker-mailserver expects."""
    printed = run_preflight(plan, None)
    assert "loads mail_crypt in lmtp, lda, imap, pop3; 0 mails are encrypted" in printed
    assert json.loads(marks(plan.mail))["identity"] == plan.identity
    assert in_volume(plan.mail, f"stat -c '%u:%g %a' /v/{MARK_FILE}") == "5000:5000 644"


def test_a_refused_store_is_not_marked(plan):
    """Preflight changes nothing before it holds."""
    refusal(replace(plan, network="nowhere"))
    assert marks(plan.mail) == ""


REFUSED = {
    "missing network": ({"network": "webmial"}, "network: the network webmial does not exist"),
    "host network": ({"network": "host"}, "network: the network host, which Docker defines"),
    "missing path": (
        {"mounts": (MountSettings("/nowhere/x", "/srv/x", True),)},
        "mounts[0].source: /nowhere/x does not exist",
    ),
    "missing volume": (
        {"mounts": (MountSettings("no-such-volume", "/srv/x", True),)},
        "mounts[0].source: the volume no-such-volume does not exist",
    ),
    "a folder on a file": (
        {"mounts": (MountSettings("/etc", "/etc/hostname", True),)},
        "expected: a container that starts",
    ),
    "too long a host name": ({"hostname": f"{'m' * 60}.example.test"}, "hostname"),
    "unknown address": (
        {"ports": (PortSettings(143, 21461, "192.0.2.1"),)},
        "ports 192.0.2.1:21461",
    ),
}


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_container_that_would_not_start_is_refused(plan, change, words):
    """The message names the setting."""
    assert words in refusal(replace(plan, **change))


TLS = {
    "letsencrypt": ({"SSL_TYPE": "letsencrypt"}, f"{LIVE}/fullchain.pem"),
    "manual": (
        {"SSL_TYPE": "manual", "SSL_CERT_PATH": "/x/c", "SSL_KEY_PATH": "/x/k"},
        "/x/c and /x/k are missing",
    ),
    "manual without a path": (
        {"SSL_TYPE": "manual", "SSL_KEY_PATH": "/x/k"},
        "SSL_CERT_PATH (not set) and /x/k are missing",
    ),
    "self-signed": ({"SSL_TYPE": "self-signed"}, f"ssl/{HOST}-cert.pem"),
    "custom": ({"SSL_TYPE": "custom"}, f"ssl/{HOST}-full.pem is missing"),
}


@pytest.mark.parametrize(("environment", "words"), TLS.values(), ids=TLS.keys())
def test_a_missing_tls_file_is_refused(plan, environment, words):
    """docker-mailserver would stop at its start without it."""
    changed = replace(plan, environment=environment, tls=TlsSettings(TlsMode.DMS))
    assert words in refusal(changed)


@pytest.fixture
def certificates(plan):
    """A volume for /etc/letsencrypt, with a function that fills it."""
    name = f"{NAME}-letsencrypt"
    docker("volume", "create", name)

    def fill(chain, key):
        folder = LIVE.replace("/etc/letsencrypt", "/v")
        in_volume(name, f"mkdir -p {folder}; cat > {folder}/fullchain.pem", stdin=chain)
        in_volume(name, f"cat > {folder}/privkey.pem", stdin=key)
        return replace(
            plan,
            environment={"SSL_TYPE": "letsencrypt"},
            tls=TlsSettings(TlsMode.DMS),
            mounts=(MountSettings(name, "/etc/letsencrypt", False),),
        )

    yield fill
    docker("volume", "rm", "-f", name)


def test_letsencrypt_with_its_files_holds(certificates):
    """The pair is compared in the container."""
    assert "warning" not in run_preflight(certificates(*pair()), None)


def test_letsencrypt_with_another_key_is_refused(certificates):
    """Dovecot and Postfix would refuse every TLS connection."""
    changed = certificates(pair()[0], pair()[1])
    assert "the private key does not belong to the first certificate" in refusal(changed)


def test_an_expired_or_foreign_certificate_of_letsencrypt_is_a_warning(certificates):
    """Another program renews it, and the server works without."""
    printed = run_preflight(certificates(*pair(days=-1, hostname="other.example.test")), None)
    assert f"the certificate does not name {HOST}" in printed
    assert "a certificate that is valid from" in printed


def test_a_provided_certificate_must_fit(plan):
    """The pair belongs together and is valid today; another name is a warning."""
    chain, key = pair()
    assert "warning" not in run_preflight(with_certificate(plan, chain, key), None)
    assert "does not belong" in refusal(with_certificate(plan, chain, pair()[1]))
    assert "is valid from" in refusal(with_certificate(plan, *pair(days=-1)))
    assert "the certificate cannot be read" in refusal(with_certificate(plan, "x", key))
    assert "the private key cannot be read" in refusal(with_certificate(plan, chain, "x"))
    other = with_certificate(plan, *pair(hostname="*.example.org"))
    assert f"does not name {HOST}" in run_preflight(other, None)
    wildcard = with_certificate(plan, *pair(hostname="*.example.test"))
    assert "warning" not in run_preflight(wildcard, None)


def with_certificate(plan, chain, key):
    return replace(plan, tls=TlsSettings(TlsMode.PROVIDED, chain, key))


def test_an_unknown_variable_is_a_warning(plan):
    """It is no fault, since user-patches.sh may read it."""
    environment = {"ENABLE_CLAMVA": "1", "SSL_DOMAIN__FILE": "/x", "TZ": "UTC"}
    printed = run_preflight(replace(plan, environment=environment), None)
    assert "ENABLE_CLAMVA: docker-mailserver has no such variable; did you mean ENABLE_CLAMAV?" in (
        printed
    )
    assert printed.count("warning") == 1


@pytest.fixture
def server(plan):
    """Start a container with labels in place of a server, and remove it."""
    started = []

    def start(*argv, name=NAME):
        docker("run", "-d", "--name", name, *argv, "--entrypoint", "sleep", IMAGE, "600")
        started.append(name)

    yield start
    for name in started:
        docker("rm", "-f", name)


def labels(plan):
    return ["--label", f"mailcrypt.server={NAME}", "--label", f"mailcrypt.stack={plan.identity}"]


@pytest.mark.parametrize("address", [EVERYWHERE, "127.0.0.1", "127.0.0.2"])
def test_our_own_ports_are_not_taken(plan, server, address):
    """That holds for all addresses, too, of the running server and of the new one."""
    server(*labels(plan), "-p", f"{address}:21461:1", "-v", f"{plan.mail}:/var/mail")
    for wanted in (EVERYWHERE, "127.0.0.1"):
        run_preflight(replace(plan, ports=(PortSettings(143, 21461, wanted),)), None)


def test_the_ports_of_others_are_taken(plan, server):
    """The container belongs to another stack, or to no stack."""
    server("-p", "127.0.0.1:21461:1", name=f"{NAME}-other")
    assert "ports 127.0.0.1:21461" in refusal(plan)


def test_a_container_of_our_name_that_is_not_ours_is_refused(plan, server):
    """Docker would refuse the name after the plan was accepted."""
    server()
    assert f"container {NAME}: a container of this name exists" in refusal(plan)


def test_another_server_that_writes_into_the_store_is_refused(plan, server):
    """Two servers on one Maildir lose mail; the hint stops the other one for good."""
    server("-v", f"{plan.mail}:/var/mail", name=f"{NAME}-old")
    assert f"docker update --restart=no {NAME}-old && docker stop {NAME}-old" in refusal(plan)


def test_a_store_with_mail_and_without_a_mark_is_taken_by_a_new_stack(plan):
    """A server that was set up by hand is adopted in this way."""
    put_mail(plan.mail)
    assert "1 in clear" in run_preflight(plan, None)
    assert plan.identity in marks(plan.mail)


def test_a_store_of_another_stack_is_refused_until_its_mark_is_named(plan):
    """The hint holds the command, and afterwards the mark is ours."""
    first = replace(plan, identity=new_identity(), stack="first")
    run_preflight(first, None)
    words = refusal(plan)
    assert f"belongs to the stack first (mark {first.identity})" in words
    assert f"pulumi config set mailcrypt:adoptMail {first.identity}" in words
    assert first.identity in marks(plan.mail)
    assert "belongs to" in refusal(replace(plan, adopt="unmarked"))
    adopting = replace(plan, adopt=first.identity)
    run_preflight(adopting, None)
    assert plan.identity in marks(plan.mail)
    assert "adoptMail: the mail store is this stack's own; remove" in run_preflight(adopting, None)


def test_a_damaged_mark_is_refused(plan):
    """The owner of the store is then unknown."""
    in_volume(plan.mail, f"echo garbage > /v/{MARK_FILE}")
    assert f"{MARK_FILE} in {plan.mail}" in refusal(plan)


def test_a_store_that_was_emptied_is_refused(plan):
    """A volume that was removed and made again has no mark."""
    previous = held(plan)
    run_preflight(plan, previous)
    in_volume(plan.mail, f"rm /v/{MARK_FILE}")
    assert "without this stack's mark" in refusal(plan, previous)
    run_preflight(replace(plan, adopt="unmarked"), previous)
    assert plan.identity in marks(plan.mail)


def test_an_older_stack_without_a_mark_goes_on(plan):
    """Its store is recognised by its mail; an empty one is refused."""
    previous = replace(held(plan), identity=None)
    in_volume(plan.mail, f"rm /v/{MARK_FILE}")
    assert "without this stack's mark" in refusal(plan, previous)
    put_mail(plan.mail)
    run_preflight(plan, previous)
    assert plan.identity in marks(plan.mail)


@pytest.fixture
def moved(plan):
    """Return the plan with its mail in another volume, which exists."""
    name = f"{NAME}-moved"
    docker("volume", "create", name)
    yield replace(plan, sources={**plan.sources, "mail": name})
    docker("volume", "rm", "-f", name)


def copy(plan, moved):
    mounts = ["-v", f"{plan.mail}:/from:ro", "-v", f"{moved.mail}:/to"]
    docker("run", "--rm", *mounts, "--entrypoint", "cp", IMAGE, "-a", "/from/.", "/to/")


def test_moving_an_empty_store_holds(plan, moved):
    """There is nothing to leave behind."""
    run_preflight(moved, held(plan))
    assert plan.identity in marks(moved.mail)


def test_mail_is_not_left_behind(plan, moved):
    """An empty store and an older copy are refused; a whole copy holds."""
    put_mail(plan.mail, 2)
    previous = held(plan)
    assert f"2 mails are in the former mail store {plan.mail}, 0 in the new one" in (
        refusal(moved, previous)
    )
    copy(plan, moved)
    put_mail(plan.mail, 3)
    assert "3 mails are in the former mail store" in refusal(moved, previous)
    copy(plan, moved)
    run_preflight(moved, previous)


def test_a_former_store_whose_disk_is_not_mounted_is_not_called_empty(plan, moved):
    """It has no mark, so it is not the store that the last preflight looked at."""
    previous = held(plan)
    in_volume(plan.mail, f"rm /v/{MARK_FILE}")
    assert "has no mark and no mail (is its disk mounted?)" in refusal(moved, previous)


def test_mail_is_left_behind_if_that_is_declared(plan, moved):
    """The refusal prints the value to set."""
    put_mail(plan.mail)
    previous = held(plan)
    assert "mailcrypt:adoptMail unmarked" in refusal(moved, previous)
    run_preflight(replace(moved, adopt="unmarked"), previous)


def test_mail_of_a_former_store_that_is_gone_is_not_forgotten(plan, moved):
    """Its content is unknown."""
    previous = held(plan)
    docker("volume", "rm", plan.mail)
    assert "the former mail store does not exist any more" in refusal(moved, previous)


def test_mail_is_counted_only_if_keys_or_store_differ(plan):
    """A change of a variable does not make preflight read a large store again."""
    previous = held(plan)
    assert "was not counted again" in run_preflight(replace(plan, deadline=61), previous)
    assert "0 mails are encrypted" in run_preflight(replace(plan, key_ids=("1" * 64,)), previous)


def test_a_store_that_could_not_be_looked_at_is_refused(plan):
    """Files of sdbox do not count as mail that was checked."""
    folder = "/v/example.test/user/dbox-Mails"
    in_volume(plan.mail, f"mkdir -p {folder}; echo x > {folder}/u.1")
    assert "sdbox" in refusal(plan)


def test_a_count_that_takes_too_long_is_refused(plan):
    """The message names the setting that gives more time."""
    put_mail(plan.mail)
    words = refusal(replace(plan, count_deadline=0.0001))
    assert "countDeadline" in words


def claim(plan, **changes):
    volumes = tuple(plan.sources.values())
    return replace(Claim(plan.docker_host, plan.identity, plan.adopt, NAME, volumes), **changes)


def test_names_of_another_stack_are_not_claimed(plan, network):
    """A name with another identity is refused; one without is left to preflight."""
    assert claim_names(claim(plan)) == "4 of 4 volumes exist, none is another stack's"
    docker("volume", "rm", plan.mail)
    docker("volume", "create", "--label", "mailcrypt.stack=00112233aabbccdd", plan.mail)
    with pytest.raises(PreflightError, match=r"mark 00112233aabbccdd") as caught:
        claim_names(claim(plan))
    assert f"volume {plan.mail}" in str(caught.value)
    claim_names(claim(plan, adopt="00112233aabbccdd"))
    claim_names(claim(plan, identity="00112233aabbccdd"))


def test_a_container_of_another_stack_is_not_claimed(plan, server):
    """That holds even if the stack has no volume, since all its stores are binds."""
    server("--label", "mailcrypt.stack=00112233aabbccdd")
    with pytest.raises(PreflightError, match=f"container {NAME}"):
        claim_names(claim(plan, volumes=()))
