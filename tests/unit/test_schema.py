"""The component's schema, from which Pulumi makes a package for programs in other languages."""

import json
import subprocess

import pytest

from mailcrypt_component import MailCryptServer, MailCryptServerArgs, __version__
from mailcrypt_component.model.settings import Settings
from tests.stacks import ROOT

SCHEMA = json.loads((ROOT / "schema.json").read_text())
SERVER = SCHEMA["resources"]["mailcrypt:index:MailCryptServer"]


@pytest.mark.engine
def test_the_committed_schema_is_what_the_component_host_serves(tmp_path):
    """A change of an argument or its text needs a new schema in the same commit (make schema)."""
    host = tmp_path / "pulumi-resource-mailcrypt"
    host.write_text(f'#!/bin/sh\nexec python {ROOT} "$@"\n')
    host.chmod(0o755)
    done = subprocess.run(
        ["pulumi", "package", "get-schema", host],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == SCHEMA, "run make schema"


def test_the_schema_has_every_argument_and_output():
    """What the component host infers is what the component takes and has."""
    assert set(SERVER["inputProperties"]) == set(MailCryptServerArgs.__annotations__)
    outputs = {name.replace("_", "") for name in MailCryptServer.__annotations__}
    assert {name.lower() for name in SERVER["properties"]} == outputs


def test_every_argument_is_a_setting():
    """No argument is forgotten where settings are read."""
    settings = {name.replace("_", "") for name in Settings.__dataclass_fields__}
    assert {name.lower() for name in SERVER["inputProperties"]} == settings


def test_everything_in_the_schema_is_described():
    """The docstrings below the arguments are the text in editors and in the registry."""
    described = [SERVER, *SERVER["inputProperties"].values(), *SERVER["properties"].values()]
    for kind in SCHEMA["types"].values():
        described += [kind, *kind.get("properties", {}).values()]
    assert [item for item in described if not item.get("description")] == []


def test_the_schema_has_the_packages_version():
    """There is one place for the version."""
    assert SCHEMA["version"] == __version__
