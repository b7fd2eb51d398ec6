"""The stack files in the repository."""

from pathlib import Path

import pytest
import yaml

from mailcrypt_component.args import MailCryptServerArgs
from mailcrypt_component.model.read_settings import read_settings

STACKS = sorted((Path(__file__).parents[2] / "stacks").glob("Pulumi.*.yaml"))


def test_the_three_stacks_exist():
    """There is one stack for each environment."""
    assert [path.name.split(".")[1] for path in STACKS] == ["dev", "prod", "staging"]


@pytest.mark.parametrize("path", STACKS, ids=lambda path: path.name)
def test_no_stack_file_holds_a_secret_in_clear(path):
    """The files hold no key, and no password in clear."""
    text = path.read_text()
    assert "PRIVATE" not in text
    assert "password" not in text


def test_the_typed_configuration_is_that_of_the_settings():
    """Each setting has its type, and each default equals the code's."""
    project = yaml.safe_load((STACKS[0].parents[1] / "Pulumi.yaml").read_text())
    declared = project["config"]
    assert set(declared) == set(MailCryptServerArgs.__annotations__)
    required = {"image": "i", "hostname": "mail.example.test"}
    assert {name for name, item in declared.items() if "default" not in item} == set(required)
    required["accounts"] = [{"address": "a@b.test"}]
    defaults = {name: item["default"] for name, item in declared.items() if item.get("default")}
    assert read_settings({**required, **defaults}) == read_settings(required)
