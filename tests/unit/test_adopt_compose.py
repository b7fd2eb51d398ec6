"""Our reader of compose files agrees with the recorded output of the real Docker Compose."""

import dataclasses
import json
import os
import stat
from contextlib import suppress

import pytest

from mailcrypt_component.adopt import compose
from mailcrypt_component.adopt.compose import mail_service, read_project
from mailcrypt_component.adopt.env_file import read_env_file
from mailcrypt_component.model.errors import MailCryptError, SettingsError
from tests.unit.compose.record import HERE, config_of, copied

CASES = sorted(path.parent.name for path in HERE.glob("*/config.json"))
# Cases that only Docker Compose itself resolves, with what the refusal says.
REFUSED = {
    "interpolation": r"mail.image: a value with \$",
    "override": "compose.override.yaml: an override file",
    "extends": "mail.extends: another service",
    "include": "include: another compose file",
    "reset": "line 1: the tag !reset",
    "octal": "the number 0123, which has to be quoted",
    "env_interpolation": r"x.env, line 2: B: a value with \$",
    "compose_file": "COMPOSE_FILE: the variable names other files",
}
READ = [case for case in CASES if case not in REFUSED]
COMPOSE_IS_HERE = compose._compose_is_installed()


@pytest.fixture(autouse=True)
def own_environment(monkeypatch, tmp_path):
    """Keep the machine's own settings away from Docker Compose and from our reader."""
    for name in [each for each in os.environ if each.startswith("COMPOSE_")]:
        monkeypatch.delenv(name)


def without_compose(monkeypatch):
    monkeypatch.setattr(compose, "_compose_is_installed", lambda: False)


def with_recorded_compose(monkeypatch, folder, recorded, *, code=0, warning=""):
    """Put a docker on PATH that prints the recorded output of the real one."""
    programs = folder / "bin"
    programs.mkdir()
    (programs / "config.json").write_text(recorded)
    script = programs / "docker"
    said = f"printf '%s\\n' '{warning}' >&2" if warning else ":"
    script.write_text(
        f"#!/bin/sh\n[ $2 = version ] && exit 0\n{said}\n"
        f'[ {code} = 0 ] || exit {code}\ncat "{programs}/config.json"\n'
    )
    script.chmod(script.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")


def recorded(case, folder):
    text = (HERE / case / "config.json").read_text()
    return text.replace("FOLDER", str(folder)).replace("PARENT", str(folder.parent))


def comparable(project):
    """Return a project without the keys whose values only notes name."""

    def of(service):
        keys = {key for key, value in service.stated.items() if value not in (None, {}, [])}
        keys = {key for key in keys if not key.startswith("x-")}
        return dataclasses.replace(service, stated={"keys": sorted(keys)})

    services = {name: of(each) for name, each in project.services.items()}
    return dataclasses.replace(project, services=services)


@pytest.mark.parametrize("case", READ)
def test_our_reader_agrees_with_docker_compose(case, tmp_path, monkeypatch):
    """Image, environment, mounts, ports and networks are those that the real one printed."""
    folder = copied(case, tmp_path)
    with monkeypatch.context() as alone:
        without_compose(alone)
        ours = read_project(folder)
    with_recorded_compose(monkeypatch, tmp_path, recorded(case, folder))
    theirs = read_project(folder)
    assert comparable(ours) == comparable(theirs)


@pytest.mark.parametrize(("case", "words"), REFUSED.items(), ids=REFUSED)
def test_a_part_that_only_docker_compose_resolves_is_refused_by_name(
    case, words, tmp_path, monkeypatch
):
    """The message names its place, and says that Docker Compose resolves it."""
    without_compose(monkeypatch)
    with pytest.raises(SettingsError, match=words) as caught:
        read_project(copied(case, tmp_path))
    assert "install Docker Compose" in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_docker_compose_resolves_the_parts_that_we_refuse(case, tmp_path, monkeypatch):
    """With Docker Compose each of those folders is a project with one mail server."""
    folder = copied(case, tmp_path)
    with_recorded_compose(monkeypatch, tmp_path, recorded(case, folder))
    service = mail_service(read_project(folder), "mail")
    if case == "interpolation":
        assert service.text("image") == "mailserver/docker-mailserver:15.1.0"
        assert service.environment == {"PRICE": "$5", "SET": "s3cret"}
    if case == "override":
        assert [port.published for port in service.ports] == ["2525"]


@pytest.mark.parametrize("case", CASES if COMPOSE_IS_HERE else ["ordinary"])
def test_the_recorded_output_is_that_of_docker_compose(case, tmp_path):
    """If Docker Compose is installed, it prints what was recorded."""
    folder = copied(case, tmp_path)
    text = (HERE / case / "config.json").read_text()
    printed = config_of(folder) if COMPOSE_IS_HERE else text
    assert json.loads(printed) == json.loads(text)


def test_unquoted_ports_are_no_sexagesimal_numbers(tmp_path, monkeypatch):
    """``- 25:25`` is not the number 1525, as YAML 1.1 would read it."""
    without_compose(monkeypatch)
    ports = read_project(copied("ports", tmp_path)).services["mail"].ports
    assert [(port.address, port.published, port.target) for port in ports[:4]] == [
        ("", "25", 25),
        ("", "22", 22),
        ("127.0.0.1", "25", 25),
        ("::1", "25", 25),
    ]


def test_a_project_volume_has_its_real_name(tmp_path, monkeypatch):
    """The engine's name consists of the project's name and the volume's own."""
    without_compose(monkeypatch)
    mounts = read_project(copied("project_name", tmp_path)).services["mail"].mounts
    assert [mount.source for mount in mounts] == ["from-dot-env_data"]


def test_warnings_of_docker_compose_are_kept(tmp_path, monkeypatch):
    """A variable that is not set becomes an empty value, which must be reported."""
    folder = copied("ordinary", tmp_path)
    warning = 'time="2026" level=warning msg="The X variable is not set."'
    with_recorded_compose(monkeypatch, tmp_path, recorded("ordinary", folder), warning=warning)
    assert read_project(folder).warnings == ("The X variable is not set.",)


def test_a_project_that_docker_compose_refuses_is_refused_with_its_message(tmp_path, monkeypatch):
    """Docker Compose's own message names the file and line."""
    folder = copied("ordinary", tmp_path)
    with_recorded_compose(monkeypatch, tmp_path, "", code=1, warning="yaml: line 3: bad")
    with pytest.raises(SettingsError, match="yaml: line 3: bad"):
        read_project(folder)


NOT_COMPOSE = {
    "not yaml": "][",
    "a list": "- a",
    "empty": "",
    "no services": "name: x",
    "services is a list": "services: [a]",
    "a service is text": "services: {mail: x}",
    "a key twice": "services: {mail: {image: a, image: b}}",
    "a port of letters": "services: {mail: {image: a, ports: [x]}}",
    "ranges of two lengths": "services: {mail: {image: a, ports: ['1-2:1-3']}}",
    "too many colons": "services: {mail: {image: a, volumes: ['a:/b:ro:c']}}",
    "an environment of text": "services: {mail: {image: a, environment: x}}",
    "an unknown tag": "services: {mail: !python/object:os.system {}}",
    "an undefined volume": "services: {mail: {image: a, volumes: ['data:/var/mail']}}",
    "an undefined network": "services: {mail: {image: a, networks: [x]}}",
    "a relative target": "services: {mail: {image: a, volumes: ['./a:b']}}",
    "a port of no machine": "services: {mail: {image: a, ports: ['25:70000']}}",
    "an unknown protocol": "services: {mail: {image: a, ports: ['25:25/xyz']}}",
    "volumes is a number": "services: {mail: {image: a, volumes: 5}}",
}


@pytest.mark.parametrize("text", NOT_COMPOSE.values(), ids=NOT_COMPOSE)
def test_a_file_that_is_no_compose_file_is_one_clear_error(text, tmp_path, monkeypatch):
    """The error names the file, and there is never a traceback."""
    without_compose(monkeypatch)
    (tmp_path / "compose.yaml").write_text(text)
    with pytest.raises(MailCryptError, match=r"compose\.yaml"):
        read_project(tmp_path)


@pytest.mark.parametrize("case", READ)
def test_a_file_that_grows_never_raises_anything_else(case, tmp_path, monkeypatch):
    """Each beginning of a file is read or refused."""
    without_compose(monkeypatch)
    folder = copied(case, tmp_path)
    text = (folder / "compose.yaml").read_text()
    for size in range(0, len(text), 7):
        (folder / "compose.yaml").write_text(text[:size])
        with suppress(MailCryptError):
            read_project(folder)


ENV_FAULTS = {
    "a quote that is not closed": ("A='x\nB=1\n", "A has a quote that is not closed"),
    "a line of prose": ("A=1\nnot a variable\n", "line 2: not NAME=value"),
    "a dollar": ('A="pa$word"\n', r"line 1: A: a value with \$"),
}


@pytest.mark.parametrize(("text", "words"), ENV_FAULTS.values(), ids=ENV_FAULTS)
def test_a_fault_in_an_env_file_names_the_line_and_no_value(text, words):
    """A value may be a password."""
    with pytest.raises(SettingsError, match=words) as caught:
        read_env_file(text, "x.env", {})
    assert "pa$word" not in str(caught.value)


def test_one_of_several_mail_servers_has_to_be_named(tmp_path, monkeypatch):
    """The message lists the candidates, and --service is the hint."""
    without_compose(monkeypatch)
    text = "services: {a: {image: docker-mailserver}, b: {image: docker-mailserver}, c: {image: c}}"
    (tmp_path / "compose.yaml").write_text(text)
    project = read_project(tmp_path)
    with pytest.raises(SettingsError, match=r"2 services run docker-mailserver \(a, b\)") as caught:
        mail_service(project)
    assert "--service" in str(caught.value)
    assert mail_service(project, "b").name == "b"
    with pytest.raises(SettingsError, match="none of a, b, c"):
        mail_service(project, "missing")
