"""The server on a Docker Swarm of real engines."""
