"""A larger stack: two mail servers in one program, one of them inside another component."""

import pulumi
import pulumi_docker as docker
from groupware import Groupware

from mailcrypt_component import MailCryptServer

config = pulumi.Config()
remote = docker.Provider("remote", host=config.get("host"))
office = Groupware("office", config.require("image"), pulumi.ResourceOptions(providers=[remote]))
archive = MailCryptServer(
    "archive",
    {
        "image": config.require("image"),
        "hostname": "archive.example.test",
        "accounts": [{"address": "archive@example.test"}],
        "ports": {},
        "protect": False,
        "keepMail": False,
    },
)

pulumi.export("client", office.client.name)
pulumi.export("keyIds", [office.mail.key_id, archive.key_id])
