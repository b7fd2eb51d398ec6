"""A mail store seen from outside Dovecot: which mail is sealed to which key."""
