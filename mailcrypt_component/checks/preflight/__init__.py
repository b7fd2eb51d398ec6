"""Tries a plan in a throw-away container before anything is touched."""
