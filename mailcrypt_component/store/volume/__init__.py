"""A mail store in a volume of a Docker host."""
