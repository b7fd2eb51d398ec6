"""The documentation says what the code does, its links lead somewhere, its commands exist."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from docs.generate import described, pages
from mailcrypt_component import cli
from mailcrypt_component.args import MailCryptServerArgs

ROOT = Path(__file__).parents[2]
DOCS = sorted((ROOT / "docs").glob("*.md"))
BESIDE = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
BESIDE += [ROOT / "engine/README.md", ROOT / "image/README.md"]
# The changelog also names what is gone.
TODAY = [path for path in BESIDE if path.name != "CHANGELOG.md"]
REGISTRIES = ("docker.io", "ghcr.io", "quay.io", "pypi.org", "proxy.golang.org")
COMMAND = re.compile(r"(?:^|[ /])mailcrypt ([a-z]+)([^`\n#;|]*)", re.MULTILINE)
TARGET = re.compile(r"`make ([a-z-]+)|^make ([a-z-]+)", re.MULTILINE)


def site_of(folder, change=lambda _: None):
    """Copy the site's sources, change them, and build; return what was printed and the code."""
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    change(folder / "docs")
    argv = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("path", "text"), list(pages()), ids=lambda each: getattr(each, "name", "")
)
def test_what_is_generated_is_what_the_code_says(path, text):
    """Whoever changes a setting, a command or an edit runs `make docs` and commits the pages."""
    assert path.read_text() == text, f"{path.name} is not up to date: python docs/generate.py"


def test_a_setting_without_a_description_is_refused():
    """No setting is left out in silence."""
    with pytest.raises(ValueError, match="0 descriptions of hostname"):
        described("config:\n  image:\n    type: string\n    description: x\n")


def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    """Every link and anchor of a page leads somewhere; fonts and scripts are the site's own."""
    code, printed = site_of(tmp_path)
    assert code == 0, printed
    assert "arning" not in printed
    built = list((tmp_path / "site").rglob("*.html"))
    assert len(built) > len(DOCS)
    for path in built:
        assert loaded_from_elsewhere(path.read_text()) == []


@pytest.mark.parametrize(
    ("line", "word"),
    [("[x](nowhere.md)", "page does not exist"), ("[x](#nowhere)", "anchor does not exist")],
)
def test_a_broken_link_stops_the_build(tmp_path, line, word):
    """A page that is not there, or a heading that is not there."""

    def change(docs):
        (docs / "index.md").write_text(f"# Title\n\n{line}\n")

    code, printed = site_of(tmp_path, change)
    assert code != 0
    assert word in printed


def loaded_from_elsewhere(html):
    """Return the addresses of other hosts that a browser loads without being asked."""
    loading = r"<(?:script|img|iframe|link)\b[^>]*?\b(?:src|href)=[\"']?((?:https?:)?//[^\"' >]+)"
    return re.findall(loading, html)


def test_what_is_loaded_from_elsewhere_is_found():
    """A font, a script and a picture of another host; a plain link is none of them."""
    html = (
        '<link rel="stylesheet" href="https://fonts.test/a"><script src="//cdn.test/b"></script>'
        '<img alt="" src=https://c.test/c><a href="https://d.test/d">'
    )
    found = ["https://fonts.test/a", "//cdn.test/b", "https://c.test/c"]
    assert loaded_from_elsewhere(html) == found


def test_every_page_is_in_the_navigation():
    """And the first page names each of the others."""
    nav = (ROOT / "mkdocs.yml").read_text().partition("nav:")[2]
    assert sorted(re.findall(r"\S+\.md", nav)) == [path.name for path in DOCS]
    first = (ROOT / "docs/index.md").read_text()
    assert {f"({path.name})" for path in DOCS if path.name != "index.md"} <= {
        f"({name})" for name in re.findall(r"\]\((\S+?)\)", first)
    }


def broken_links(path, text):
    """Return the relative links of a text that lead to no file."""
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    return [
        link for link in links if "://" not in link and not (path.parent / link).resolve().exists()
    ]


@pytest.mark.parametrize("path", BESIDE, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_links_of_the_files_beside_the_site_lead_to_files(path):
    """README and the like link into the repository."""
    assert broken_links(path, path.read_text()) == []


def test_a_link_to_no_file_is_found():
    """The check of the files beside the site can fail."""
    assert broken_links(ROOT / "README.md", "[a](docs/gone.md) [b](docs/keys.md#x)") == [
        "docs/gone.md"
    ]


def wrong_commands(text):
    """Return the command lines of `mailcrypt` in a text that the program does not know."""
    wrong = []
    for name, rest in COMMAND.findall("\n".join(code_of(text))):
        command = cli.main.get_command(click.Context(cli.main), name)
        options = {option for one in command.params for option in one.opts} if command else set()
        used = [word for word in shlex.split(rest) if word.startswith("--")]
        if not command or not {word.partition("=")[0] for word in used} <= {*options, "--help"}:
            wrong.append(f"mailcrypt {name}{rest}")
    return wrong


def code_of(text):
    """Return the blocks and spans of code in a Markdown text."""
    blocks = re.findall(r"```(?:\w+)?\n(.*?)```", text, re.DOTALL)
    spans = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [*blocks, *(" ".join(span.split()) for span in spans)]


@pytest.mark.parametrize("path", [*DOCS, *TODAY], ids=lambda path: path.name)
def test_every_command_that_is_named_exists(path):
    """With each of its options; so does each target of make and each setting."""
    text = path.read_text()
    assert wrong_commands(text) == []
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {one or other for one, other in TARGET.findall("\n".join(code_of(text)))} <= targets
    settings = set(re.findall(r"\bmailcrypt:(\w+)", "\n".join(code_of(text)))) - {"index", "NAME"}
    assert settings <= set(MailCryptServerArgs.__annotations__) | {"MailCryptServer"}


def test_a_command_that_does_not_exist_is_found():
    """Neither an unknown command nor an unknown option passes."""
    assert wrong_commands("`mailcrypt seal --stack x`") == ["mailcrypt seal --stack x"]
    assert wrong_commands("```\nmailcrypt lock --now\n```") == ["mailcrypt lock --now"]
    assert wrong_commands("`mailcrypt lock --stack x`") == []


def test_the_readme_is_short():
    """What is longer belongs into the site."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130


@pytest.mark.parametrize("path", [*DOCS, *BESIDE], ids=lambda path: path.name)
def test_no_registry_is_named(path):
    """Whoever deploys chooses where images and packages come from."""
    text = path.read_text()
    assert [host for host in REGISTRIES if host in text] == []


def test_the_first_example_is_the_same_everywhere():
    """The project file of the README and of the first page."""
    wanted = yaml.safe_load(
        "{name: mail, runtime: {name: python, options: {toolchain: pip, virtualenv: .venv}}}"
    )
    for name in ("README.md", "docs/getting-started.md"):
        blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)
        assert yaml.safe_load(blocks[0]) == wanted
