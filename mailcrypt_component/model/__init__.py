"""Values and text: settings, key ring, dialects, docker-mailserver's contract, accounts, errors."""
