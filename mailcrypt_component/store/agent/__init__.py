"""Programs that run in a container, too: the standard library and this folder, nothing else."""
