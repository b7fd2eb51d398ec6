"""The direction of imports: every module of the package belongs to a layer."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "mailcrypt_component"
NAME = PACKAGE.name
PULUMI = {"pulumi", "pulumi_docker", "pulumi_tls"}
NETWORK = {"docker", "requests", "socket", "http", "urllib3", "ssl", "subprocess"}

VALUES = {"model", "dialects", "dcrypt"}
# Each room, with what it may import: other rooms of ours, and none of these libraries.
ROOMS = {
    "model": (VALUES, PULUMI | NETWORK),
    "dialects": ({"model", "dialects"}, PULUMI | NETWORK),
    "dcrypt": ({"model", "dcrypt"}, PULUMI | NETWORK),
    "docker_api": (VALUES | {"docker_api"}, PULUMI),
    "store": (VALUES | {"docker_api", "store"}, PULUMI),
    "custody": (VALUES | {"docker_api", "custody"}, PULUMI),
    "exposure": (VALUES | {"docker_api", "store", "exposure"}, PULUMI),
    "checks": (VALUES | {"docker_api", "store", "custody", "exposure", "checks"}, PULUMI),
    "adopt": (VALUES | {"docker_api", "store", "adopt"}, PULUMI),
}
# These may import everything.
TOP = {"component", "cli", "args", "testing", "__init__", "__main__"}

MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports_of(path):
    """Yield the dotted name of every imported module, wherever the file imports it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == NAME:
                yield from (f"{NAME}.{alias.name}" for alias in node.names)
            else:
                yield node.module


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_each_module_imports_only_what_its_layer_may(path):
    """A module outside of every layer is refused, so that no new one can escape the rule."""
    room = room_of(path)
    if room in TOP:
        return
    assert room in ROOMS, f"{path.name} lies in no room"
    allowed, refused = ROOMS[room]
    for name in imports_of(path):
        first, *rest = name.split(".")
        if first == NAME:
            assert rest[0] in allowed, f"{room} imports {name}"
        else:
            assert first not in refused, f"{room} imports {name}"


def test_every_layer_exists():
    """A layer that was renamed cannot escape the test above."""
    assert {room_of(path) for path in MODULES} >= {*ROOMS, "component", "cli"}
