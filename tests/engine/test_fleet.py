"""The example of a fleet: one program, a server for each entry of a table."""

import pytest
import yaml

from tests.stacks import ROOT, changed

pytestmark = [pytest.mark.engine, pytest.mark.long, pytest.mark.timeout(1200)]

IMAGE = "mailcrypt-dms-dev:13"
DOMAINS = ("one", "two", "three")
GOES_ON = ("up", "--continue-on-error", "--yes", "--skip-preview", "--stack")


@pytest.fixture(scope="module")
def fleet(make_stack, tmp_path_factory):
    """Three proven servers of a table."""
    table = tmp_path_factory.mktemp("fleet") / "fleet.yaml"
    entries = [
        {
            "domain": f"{name}.example.test",
            "dockerHost": "unix:///var/run/docker.sock",
            "accounts": ["user"],
        }
        for name in DOMAINS
    ]
    table.write_text(yaml.safe_dump(entries))
    settings = {"image": IMAGE, "table": str(table), "protect": "false", "keepMail": "false"}
    stack = make_stack("fleet", ROOT / "examples/fleet", **settings)
    stack.green()
    return stack


def server(stack, name):
    return f"{name}-example-test-{stack.name}"


def test_each_has_a_key_of_its_own_and_nothing_is_left_to_do(fleet):
    """Three rings, three proofs, and a second update changes nothing."""
    key_ids = fleet.outputs()["keyIds"]
    assert set(key_ids) == {f"{name}.example.test" for name in DOMAINS}
    assert len(set(key_ids.values())) == len(DOMAINS)
    assert changed(fleet.green()) == set()


def test_a_broken_server_does_not_stop_the_proof_of_the_others(fleet):
    """Each was started again; one stores in clear, and the others are proven all the same."""
    broken = server(fleet, "two")
    script = "echo 'crypt_write_algorithm =' > /etc/dovecot/local.conf"
    fleet.docker("exec", broken, "sh", "-c", script)
    for name in DOMAINS:
        fleet.docker("restart", "-t", "2", server(fleet, name))
    done = fleet.pulumi(*GOES_ON, fleet.name)
    assert done.returncode != 0, done.stdout
    assert "was just stored lies in clear" in done.stdout
    for name in DOMAINS:
        status = fleet.mailcrypt("status", "--server", f"{name}-example-test")
        assert (status.returncode == 0) is (name != "two"), status.stdout
