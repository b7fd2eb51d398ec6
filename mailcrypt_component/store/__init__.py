"""A mail store seen from outside Dovecot: which mail is encrypted to which key."""
