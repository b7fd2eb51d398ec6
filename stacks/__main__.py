"""The stack: its configuration, one encrypted mail server, its outputs."""

import sys
from pathlib import Path

import pulumi

sys.path.insert(0, str(Path(__file__).parents[1]))  # In a checkout, run what lies in it.

from mailcrypt_component import MailCryptServer
from mailcrypt_component.component.stack_config import args_of_stack

server = MailCryptServer("mailcrypt", args_of_stack())

pulumi.export("endpoints", server.endpoints)
pulumi.export("containerName", server.container_name)
pulumi.export("network", server.network)
pulumi.export("volumes", server.volumes)
pulumi.export("imageId", server.image_id)
pulumi.export("dovecotDialect", server.dialect)
pulumi.export("configDigest", server.config_digest)
pulumi.export("keyId", server.key_id)
pulumi.export("keyIds", server.key_ids)
pulumi.export("publicKey", server.public_key)
pulumi.export("accountPasswords", server.account_passwords)
pulumi.export("verifyTarget", server.verify_target)
