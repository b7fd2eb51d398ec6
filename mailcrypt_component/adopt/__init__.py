"""Reads a server that was set up by hand."""
