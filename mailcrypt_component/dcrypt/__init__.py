"""Dovecot's encrypted-file format (lib-dcrypt): values only, no server.

``header`` tells whom a file is encrypted to without any key, ``key_id`` names a key as
the header does, ``decrypt`` opens a file, ``compression`` undoes what was done before
encrypting, ``encrypt`` writes one.
"""
