"""How this project speaks to a Docker engine."""
