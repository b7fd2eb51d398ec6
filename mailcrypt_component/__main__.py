"""The component host: serves the component to Pulumi programs in any language."""

from pulumi.provider.experimental import component_provider_host

from mailcrypt_component.component.server import MailCryptServer

if __name__ == "__main__":
    component_provider_host(components=[MailCryptServer], name="mailcrypt")
