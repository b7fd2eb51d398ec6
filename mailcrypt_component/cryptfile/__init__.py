"""Dovecot's encrypted-file format (lib-dcrypt): values only, no server.

``header`` tells whom a file is sealed to without any key, ``key_id`` names a key as
the header does, ``unseal`` opens a file, ``compression`` undoes what was done before
sealing, ``seal`` writes one.
"""
