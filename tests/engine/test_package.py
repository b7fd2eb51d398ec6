"""The installed wheel, with the oldest and the newest of everything that it allows."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib

import pytest

from tests.stacks import ROOT, changed

pytestmark = [pytest.mark.engine, pytest.mark.long]

README = (ROOT / "README.md").read_text()
RANGES = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
OLDEST = [re.sub(r">=([\d.]+).*", r"==\1", dependency) for dependency in RANGES]
# The Python and the packages of each environment; pip chooses the newest by itself.
ENVIRONMENTS = {"newest": ("python3.13", []), "oldest": ("python3.11", OLDEST)}


def example(name):
    """Return the README's block whose first line is a comment with a file's name."""
    found = re.findall(
        rf"^```\w+\n# {re.escape(name)}\n(.*?)^```", README, re.DOTALL | re.MULTILINE
    )
    assert len(found) == 1, f"README.md has {len(found)} blocks for {name}"
    return found[0]


def python(name):
    """Return a Python by name, or the one that runs the tests where there is none."""
    path = shutil.which(name)
    argv = [path, "-c", "import ensurepip, venv"]
    if path and subprocess.run(argv, capture_output=True, check=False).returncode == 0:
        return path
    return sys.executable


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    argv = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT]
    subprocess.run(argv, check=True)
    return next(folder.glob("*.whl"))


def write_project(folder):
    """Write the README's project, with the development image and no port of this machine."""
    program = re.sub(r'"image": ".*"', '"image": "mailcrypt-dms-dev:13"', example("__main__.py"))
    program = re.sub(r'    "dockerHost": .*\n', '    "ports": {},\n', program)
    assert program.count('"ports": {},') == 1, program
    (folder / "__main__.py").write_text(program)
    (folder / "Pulumi.yaml").write_text(example("Pulumi.yaml"))
    return folder


def built_providers():
    """Return settings that take the providers that engine/setup has built, if it has.

    Those are of the newest version and cannot be downloaded as another; without them, Pulumi
    downloads the versions that the packages ask for.
    """
    plugins = sorted((ROOT / ".tools/pulumi-home/plugins").glob("resource-*-v*/"))
    if not plugins:
        return ""
    providers = [{"name": path.name.split("-")[1], "path": str(path)} for path in plugins]
    return f"plugins: {json.dumps({'providers': providers})}\n"


@pytest.fixture(scope="module", params=list(ENVIRONMENTS))
def project(request, wheel, make_stack, tmp_path_factory):
    """The README's project, in a fresh environment with the wheel in it."""
    name, pins = ENVIRONMENTS[request.param]
    venv = tmp_path_factory.mktemp(request.param) / "venv"
    subprocess.run([python(name), "-m", "venv", venv], check=True)
    pip = [venv / "bin/pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, wheel, "pytest", *pins], check=True)
    written = write_project(tmp_path_factory.mktemp("project"))
    stack = make_stack(f"wheel-{request.param}", written)
    (stack.folder / ".venv").symlink_to(venv)
    providers = built_providers() if pins else ""
    (stack.folder / "Pulumi.yaml").write_text(example("Pulumi.yaml") + providers)
    stack.environment.pop("PYTHONPATH", None)  # The wheel, not the tree.
    stack.environment["PATH"] = f"{venv}/bin:{stack.environment['PATH']}"
    stack.venv = venv
    return stack


def test_the_readmes_program_runs_to_a_proven_server_and_a_second_up_changes_nothing(project):
    """What the README says to copy works with the package alone."""
    assert "mail-proof: proven" in project.green()
    assert changed(project.green()) == set()
    outputs = project.outputs()
    assert re.fullmatch("[0-9a-f]{64}", outputs["keyId"])


def test_the_installed_command_proves_it_again(project):
    """The wheel has a command line of its own."""
    shown = project.verify()
    assert shown.returncode == 0, shown.stderr


def test_the_documented_unit_test_passes_without_docker(project, tmp_path):
    """The example's tests run with the installed package, and no Docker is found."""
    copied = shutil.copytree(ROOT / "examples/groupware", tmp_path / "groupware")
    done = subprocess.run(
        [project.venv / "bin/python", "-m", "pytest", "-q", "."],
        cwd=copied,
        env={"PATH": os.devnull, "HOME": str(tmp_path), "DOCKER_HOST": "unix:///nowhere/socket"},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
