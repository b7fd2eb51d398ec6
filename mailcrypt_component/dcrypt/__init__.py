"""Dovecot's encrypted-file format (lib-dcrypt) and its keys: values only, no server.

``header`` tells to whom a file is encrypted, without any key; ``key_id`` computes the ids by
which headers name a key; ``keys`` reads keys from PEM.  ``decrypt`` opens a file with the
``ciphers`` of its content, ``compression`` undoes what Dovecot did before encrypting, and
``encrypt`` writes a file.  ``escrow`` keeps keys in a passphrase-protected file, with the
pieces of ``der`` that it needs.
"""
