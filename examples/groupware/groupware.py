"""Somebody's own component: a mail server on a shared network, and a client beside it.

The client takes the server's name from an output of the server, so it is made only after the
server's proof has held.
"""

import pulumi
import pulumi_docker as docker

from mailcrypt_component import MailCryptServer


class Groupware(pulumi.ComponentResource):
    """A mail server on a shared network, and a client that reads from it."""

    def __init__(self, name: str, image: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("example:index:Groupware", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        office = docker.Network(f"{name}-net", name=f"{name}-{pulumi.get_stack()}", opts=child)
        self.mail = MailCryptServer(
            f"{name}-mail",
            {
                "image": image,
                "hostname": "mail.example.test",
                "accounts": [{"address": "you@example.test"}],
                "ports": {},
                "network": office.name,
                "protect": False,
                "keepMail": False,
            },
            child,
        )
        self.client = docker.Container(
            f"{name}-client",
            name=f"{name}-client-{pulumi.get_stack()}",
            image=self.mail.image_id,
            entrypoints=["sleep", "infinity"],
            envs=[self.mail.container_name.apply(lambda host: f"IMAP_HOST={host}")],
            networks_advanced=[docker.ContainerNetworksAdvancedArgs(name=self.mail.network)],
            opts=child,
        )
        self.register_outputs({"client": self.client.name})
