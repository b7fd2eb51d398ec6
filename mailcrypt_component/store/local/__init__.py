"""A mail store in a directory of this machine."""
