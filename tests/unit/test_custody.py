"""The checks of custody in memory, without a server."""

import pytest

from mailcrypt_component.custody import fill_cache
from mailcrypt_component.custody.keeper import check_memory
from mailcrypt_component.docker_api import inspect
from mailcrypt_component.model.docker_host import DockerHost
from mailcrypt_component.model.errors import CustodyError, UnreachableError

ROOT = "overlay / overlay rw,relatime 0 0\n"
NOSWAP = "tmpfs /certs tmpfs rw,relatime,size=1024k,mode=700,noswap 0 0\n"
SWAPPABLE = NOSWAP.replace(",noswap", "")
NO_SWAP = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
SWAP = f"{NO_SWAP}/dev/vda2                               partition\t1048572\t\t0\t\t-2\n"


@pytest.mark.parametrize("swaps", [NO_SWAP, SWAP])
def test_a_tmpfs_without_swap_is_memory(swaps):
    """With the mount option noswap, the swap of the host does not matter."""
    check_memory(ROOT + NOSWAP + swaps, "mail-keeper")


def test_an_older_kernel_is_fine_on_a_host_without_swap():
    """Linux before 6.4 does not have the mount option."""
    check_memory(ROOT + SWAPPABLE + NO_SWAP, "mail-keeper")


def test_a_tmpfs_that_can_be_swapped_out_is_refused():
    """The message names the swap and the ways out."""
    with pytest.raises(CustodyError, match="can be swapped out to /dev/vda2") as caught:
        check_memory(ROOT + SWAPPABLE + SWAP, "mail-keeper")
    assert "swapoff" in caught.value.hint


@pytest.mark.parametrize("mount", ["", "/dev/vda1 /certs ext4 rw 0 0\n"])
def test_a_disk_is_refused(mount):
    """A path without a mount is in the container's layer on the disk."""
    with pytest.raises(CustodyError, match=r"/certs is (ext4|no mount)"):
        check_memory(ROOT + mount + NO_SWAP, "mail-keeper")


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("6.18.44-fc-v595", (6, 18)),
        ("6.1.0-18-amd64", (6, 1)),
        ("5.15.167.4-microsoft-standard-WSL2", (5, 15)),
    ],
)
def test_the_kernels_version_is_read(monkeypatch, said, version):
    """The version comes from the answer of the engine."""
    monkeypatch.setattr(inspect, "ask", lambda host, path: {"KernelVersion": said})
    assert inspect.kernel_version(DockerHost()) == version


@pytest.mark.parametrize("answer", [None, {}, {"KernelVersion": "unknown"}])
def test_an_engine_that_is_no_linux_is_refused(monkeypatch, answer):
    """The properties of a tmpfs are unknown there."""
    monkeypatch.setattr(inspect, "ask", lambda host, path: answer)
    with pytest.raises(UnreachableError, match="a Linux kernel's version"):
        inspect.kernel_version(DockerHost())


LISTED = [
    (rb'* LIST (\HasNoChildren) "." INBOX', b"INBOX"),
    (rb'* LIST (\HasChildren) "." "My folder"', b'"My folder"'),
    (rb'* LIST (\Marked) NIL "a\"b"', rb'"a\"b"'),
    (rb'* LIST (\NoSelect \HasChildren) "/" parent', None),
    (rb'* LIST () "." {5}', None),
    (rb"t1 OK List completed.", None),
]


@pytest.mark.parametrize(("line", "name"), LISTED)
def test_a_mailbox_is_read_from_a_line_of_list(line, name):
    """The name keeps its quoting, and a mailbox that cannot hold mail is skipped."""
    assert fill_cache.mailbox_of(line + b"\r\n") == name


def test_the_number_of_mails_is_read_from_the_answer_to_examine():
    """A mailbox that cannot be opened has no mails."""
    told = [b"* FLAGS ()\r\n", b"* 172 EXISTS\r\n", b"* 1 RECENT\r\n", b"t2 OK\r\n"]
    assert fill_cache.number_of_mails(told) == 172
    assert fill_cache.number_of_mails([b"t2 NO Mailbox doesn't exist\r\n"]) == 0
