"""The health check's program, run against sockets of our own."""

import os
import socket
import threading
from contextlib import ExitStack, contextmanager

import pytest

from mailcrypt_component.checks import health
from mailcrypt_component.checks.health_program import health_program


@contextmanager
def greeting(server, text):
    """Greet each client of a listening socket."""
    server.listen()

    def serve():
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                client.sendall(text)
                client.recv(100)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Return a function that starts healthy sockets of LMTP and IMAP and Postfix's FIFO."""
    monkeypatch.setattr(health, "_configured", list)
    monkeypatch.setattr(health, "SECONDS", 0.5)
    fifo = tmp_path / "pickup"
    os.mkfifo(fifo)
    monkeypatch.setattr(health, "PICKUP", str(fifo))
    monkeypatch.setattr(health, "LMTP", str(tmp_path / "lmtp"))

    def start(lmtp=b"220 ready\r\n", imap=b"* OK ready\r\n", pickup=True):
        held = ExitStack()
        if lmtp is not None:
            unix = socket.socket(socket.AF_UNIX)
            unix.bind(health.LMTP)
            held.enter_context(greeting(unix, lmtp))
        tcp = socket.socket()
        tcp.bind(("127.0.0.1", 0))
        monkeypatch.setattr(health, "IMAP", tcp.getsockname()[1])
        if imap is not None:
            held.enter_context(greeting(tcp, imap))
        else:
            tcp.close()
        if pickup:
            held.callback(os.close, os.open(fifo, os.O_RDONLY | os.O_NONBLOCK))
        return held

    return start


def test_a_server_that_answers_is_healthy(server, capsys):
    """The exit code is 0, and the output names what answered."""
    with server():
        assert health.main([]) == 0
    assert capsys.readouterr().out == "LMTP, IMAP and Postfix answer\n"


def test_a_locked_server_is_healthy_and_reported_as_locked(server, capsys, tmp_path):
    """A server without the file of its private keys answers, and is called locked."""
    with server():
        assert health.main([str(tmp_path / "private.conf")]) == 0
        (tmp_path / "private.conf").touch()
        assert health.main([str(tmp_path / "private.conf")]) == 0
    locked, unlocked = capsys.readouterr().out.splitlines()
    assert "locked" in locked
    assert "locked" not in unlocked


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"lmtp": None}, "LMTP does not answer"),
        ({"lmtp": b"421 no\r\n"}, "LMTP does not answer"),
        ({"lmtp": b""}, "LMTP does not answer"),
        ({"imap": None}, "IMAP does not answer"),
        ({"imap": b"* BYE\r\n"}, "IMAP does not answer"),
        ({"pickup": False}, "Postfix does not take mail"),
    ],
)
def test_a_service_that_does_not_answer_is_named(server, capsys, broken, said):
    """The exit code is 1, and the output names the service."""
    with server(**broken):
        assert health.main([]) == 1
    assert capsys.readouterr().out.startswith(said)


def test_an_imap_port_behind_a_proxy_has_only_to_be_open(server, monkeypatch):
    """Such a port sends no greeting before the proxy protocol's header."""
    with server(imap=b"") as held:
        listener = health.Listener(health.IMAP, tls=False, haproxy=True)
        monkeypatch.setattr(health, "_configured", lambda: [listener])
        assert health.main([]) == 0
        held.close()
        assert health.main([]) == 1


def test_the_program_stands_alone():
    """It runs in the container, where this package is not installed."""
    assert "import mailcrypt_component" not in health_program()
    assert "from mailcrypt_component" not in health_program()
