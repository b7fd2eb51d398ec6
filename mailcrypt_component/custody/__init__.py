"""Custody in memory: brings the private keys to a server, and takes them away."""
