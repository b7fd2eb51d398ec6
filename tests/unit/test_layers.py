"""Who may import whom."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "mailcrypt_component"
PURE = (
    "errors",
    "engine_socket",
    "dialects",
    "dms",
    "settings",
    "keyring",
    "accounts",
    "cryptfile/*",
    "escrow",
)
NO_PULUMI = (
    *PURE,
    "docker_agent",
    "docker_host",
    "docker_shell",
    "docker_ssh",
    "mounts",
    "doveconf",
    "provision",
    "preflight",
    "store/*",
    "probe/*",
)


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0]


def files(patterns):
    return sorted(path for pattern in patterns for path in PACKAGE.glob(f"{pattern}.py"))


@pytest.mark.parametrize("path", files(PURE), ids=lambda path: path.stem)
def test_the_core_knows_neither_pulumi_nor_docker(path):
    """Values and text only."""
    assert not {"pulumi", "docker", "pulumi_docker", "pulumi_tls"} & set(imports_of(path))


@pytest.mark.parametrize("path", files(NO_PULUMI), ids=lambda path: path.stem)
def test_what_talks_to_a_server_knows_no_pulumi(path):
    """The probe serves the command line as well as the gate."""
    assert not {"pulumi", "pulumi_docker", "pulumi_tls"} & set(imports_of(path))


def test_the_layers_name_real_files():
    """A renamed module cannot slip out of the two tests above."""
    assert len(files(PURE)) >= 9
    assert len(files(NO_PULUMI)) >= 19
