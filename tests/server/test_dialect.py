"""The dialect of an image, asked of the image or of a server that runs it."""

import pytest

from mailcrypt_component.checks import dialect
from mailcrypt_component.checks.dialect import ask_dialect
from mailcrypt_component.dialects.dialect import Dialect
from mailcrypt_component.docker_api.connect import connect
from mailcrypt_component.docker_api.inspect import ask_container, inspect_image
from mailcrypt_component.docker_api.throwaway import throwaway
from mailcrypt_component.model.docker_host import DockerHost
from mailcrypt_component.model.errors import SettingsError

pytestmark = pytest.mark.server

HOST = DockerHost()
IMAGES = {Dialect.V2_3: "mailcrypt-dms-dev:12", Dialect.V2_4: "mailcrypt-dms-dev:13"}
VERSION = ("dovecot", "--version")


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    """As in a program that has asked no image yet."""
    monkeypatch.setattr(dialect, "_ANSWERS", {})


@pytest.fixture(scope="module", params=Dialect, ids=lambda one: one.value)
def server(request):
    """A running container, with its image's id and dialect."""
    image = IMAGES[request.param]
    with throwaway(connect(HOST), image, purpose="dialect-test") as container:
        yield container, inspect_image(HOST, image), request.param


def no_new_container(*_, **__):
    raise AssertionError("another container was started")


def test_a_server_that_runs_the_image_answers_for_it(server, monkeypatch):
    """An update in which nothing changes starts no container."""
    container, image, expected = server
    monkeypatch.setattr(dialect, "_ask_image", no_new_container)
    assert ask_dialect(HOST, image, container.name) is expected


def test_an_image_is_asked_once(server, monkeypatch):
    """A program with many servers starts one container, and a name is asked each time."""
    container, image, expected = server
    assert ask_dialect(HOST, image, "no-such-server") is expected
    monkeypatch.setattr(dialect, "_ask_image", no_new_container)
    assert ask_dialect(HOST, image, "no-such-server") is expected
    with pytest.raises(AssertionError, match="another container"):
        ask_dialect(HOST, IMAGES[expected], container.name)


def test_a_server_does_not_answer_for_another_image(server):
    """Before an update to another image, the running server says nothing of it."""
    container, _, running = server
    [(other, image)] = [pair for pair in IMAGES.items() if pair[0] is not running]
    assert ask_container(HOST, container.name, inspect_image(HOST, image), VERSION) is None
    assert ask_dialect(HOST, inspect_image(HOST, image), container.name) is other


def test_a_server_that_cannot_answer_says_nothing(server):
    """The program is missing, or fails, or the container is paused."""
    container, image, _ = server
    assert ask_container(HOST, container.name, image, ("no-such-program",)) is None
    assert ask_container(HOST, container.name, image, ("sh", "-c", "echo 2.4; exit 1")) is None
    container.pause()
    try:
        assert ask_container(HOST, container.name, image, VERSION) is None
    finally:
        container.unpause()
    assert ask_container(HOST, container.name, image, VERSION).startswith("2.")


def test_an_image_without_a_known_dovecot_is_refused(server, monkeypatch):
    """The message names the version that was found."""
    _, image, _ = server
    monkeypatch.setattr(dialect, "_VERSION", ("echo", "2.2.36"))
    with pytest.raises(SettingsError, match=r"Dovecot 2\.2\.36 is not supported"):
        ask_dialect(HOST, image, "no-such-server")
