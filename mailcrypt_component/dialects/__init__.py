"""Dovecot's configuration languages: what is wanted, and one renderer for each of them."""
