"""Proves that a running server stores mail encrypted to the current key, readable."""
