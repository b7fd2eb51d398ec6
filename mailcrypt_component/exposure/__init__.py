"""Finds out which data on a server's disk is readable."""
