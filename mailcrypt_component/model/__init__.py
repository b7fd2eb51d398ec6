"""Values and text: settings, key ring, docker-mailserver's contract, accounts, errors."""
