"""``python -m mailcrypt_component.cli``: the command ``mailcrypt``."""

from mailcrypt_component.cli import main

main(prog_name="mailcrypt")
