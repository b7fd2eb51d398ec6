"""The order in which published ports are declared."""

import pytest

from mailcrypt_component.model.ports import in_order_of
from mailcrypt_component.model.settings import PortSettings

SMTP = PortSettings(25, 25, "0.0.0.0")
SMTP_V6 = PortSettings(25, 25, "::")
IMAP = PortSettings(143, 143, "0.0.0.0")


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ([], [SMTP, SMTP_V6, IMAP]),
        ([(25, "::", 25), (25, "0.0.0.0", 25)], [SMTP_V6, SMTP, IMAP]),
        ([(25, "0.0.0.0", 25), (25, "::", 25)], [SMTP, SMTP_V6, IMAP]),
        ([(143, "0.0.0.0", 143), (25, "::", 25)], [SMTP_V6, SMTP, IMAP]),
        ([(25, "127.0.0.1", 25)], [SMTP, SMTP_V6, IMAP]),
    ],
)
def test_bindings_of_one_port_follow_the_engine(listed, expected):
    """The server is not replaced at each update by an engine that lists bindings backwards."""
    assert in_order_of(listed, [SMTP, SMTP_V6, IMAP]) == expected
