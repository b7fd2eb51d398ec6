"""What is installed: the wheel, and what pip makes of a folder and of a git address."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import mailcrypt_component
from mailcrypt_component import __version__
from tests.stacks import ROOT

PACKAGE = ROOT / "mailcrypt_component"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pip(*argv):
    """Run pip, which must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *argv],
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """Return a copy of the repository as a commit of its own, without what git ignores."""
    folder = tmp_path_factory.mktemp("checkout")
    listed = ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listed, check=True, capture_output=True, text=True).stdout
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    git = ["git", "-C", folder, "-c", "user.name=test", "-c", "user.email=test@example.test"]
    for argv in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "everything"]):
        subprocess.run([*git, *argv], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    """Return the wheel that pip builds from the folder."""
    built = tmp_path_factory.mktemp("wheel")
    pip("wheel", "-q", "--no-deps", "-w", str(built), str(checkout))
    return next(built.glob("*.whl"))


def test_the_wheel_holds_every_file_of_the_package(wheel):
    """No template, schema or program that is sent into a container is left out."""
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    there = {
        str(file.relative_to(ROOT))
        for file in PACKAGE.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert packed == there
    for needed in ("py.typed", "store/report.html.j2", "schemas/audit.schema.json"):
        assert f"mailcrypt_component/{needed}" in packed


def test_every_file_that_the_code_opens_is_in_the_wheel(wheel):
    """What is read by name beside a module is there under that name."""
    packed = set(zipfile.ZipFile(wheel).namelist())
    opened = []
    for module in PACKAGE.rglob("*.py"):
        for suffix in re.findall(r'"([\w./-]+\.(?:sh|conf|j2|json))"', module.read_text()):
            places = (module.parent, module.parent / "files", PACKAGE / "schemas")
            opened += [place / suffix for place in places if (place / suffix).is_file()]
    assert {file.name for file in opened} >= {
        "open_copies.sh",
        "locked.sh",
        "supervisor.conf",
        "report.html.j2",
    }
    assert {str(file.relative_to(ROOT)) for file in opened} <= packed


def test_the_wheel_has_licence_commands_and_the_version(wheel):
    """What pip and Pulumi look for is in its metadata."""
    with zipfile.ZipFile(wheel) as packed:
        info = f"mailcrypt_component-{__version__}.dist-info"
        names = packed.namelist()
        assert f"{info}/licenses/LICENSE" in names
        commands = packed.read(f"{info}/entry_points.txt").decode()
        metadata = packed.read(f"{info}/METADATA").decode()
    assert "mailcrypt = " in commands
    assert "pulumi-resource-mailcrypt = " in commands
    assert f"\nVersion: {__version__}\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata


def test_building_leaves_nothing_in_the_tree(checkout, wheel):
    """Not even files that git ignores: a second build could pick them up."""
    argv = ["git", "-C", checkout, "status", "--porcelain", "--ignored"]
    assert subprocess.run(argv, check=True, capture_output=True, text=True).stdout == ""


@pytest.mark.parametrize("source", ["wheel", "folder", "git"])
def test_pip_installs_from(source, checkout, wheel, tmp_path):
    """The command line and the data files work from where pip has put them."""
    address = {"wheel": wheel, "folder": checkout, "git": f"git+file://{checkout}"}[source]
    target = tmp_path / "installed"
    pip("install", "-q", "--no-deps", "--target", str(target), str(address))
    program = (
        "import mailcrypt_component as m; print(m.__file__);"
        "from mailcrypt_component.store.report import _template; _template();"
        "from mailcrypt_component.cli import main; main(['--version'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(target)},
        cwd=tmp_path,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(target))
    assert __version__ in done.stdout.splitlines()[-1]


def test_each_dependency_is_a_range():
    """An exact pin would refuse whoever has another Pulumi; the locks are for ourselves."""
    for dependency in PROJECT["dependencies"]:
        assert re.fullmatch(r"[a-z0-9-]+>=[\d.]+(,<\d+)?", dependency), dependency


def test_the_lock_holds_every_dependency():
    """Whoever adds one runs engine/lock."""
    lock = (ROOT / "requirements.txt").read_text()
    locked = set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE))
    assert {re.split("[>=<]", one)[0] for one in PROJECT["dependencies"]} <= locked


def test_all_public_names_can_be_imported():
    """Each is where the package's table says."""
    for name in mailcrypt_component.__all__:
        assert getattr(mailcrypt_component, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = mailcrypt_component.Nothing


def test_the_command_line_does_not_load_pulumi():
    """A command that only reads files starts without it."""
    program = (
        "import sys; import mailcrypt_component; import mailcrypt_component.cli;"
        "sys.exit('pulumi' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_the_changelog_has_a_section_for_the_version():
    """A release without notes is refused; before the first one, there is Unreleased."""
    headings = re.findall(r"^## \[(.*?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased" or headings[0] == __version__
    assert Path(ROOT / "LICENSE").read_text().lstrip().startswith("Apache License")
