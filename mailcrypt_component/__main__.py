"""The component host: serves the component to Pulumi programs in any language."""

from pulumi.provider.experimental import component_provider_host

from mailcrypt_component import __version__
from mailcrypt_component.component.server import MailCryptServer


def main() -> None:
    """Serve the component; Pulumi starts this and reads the port that it prints."""
    component_provider_host(components=[MailCryptServer], name="mailcrypt", version=__version__)


if __name__ == "__main__":
    main()
