"""Records what the real Docker Compose makes of each folder here, in its config.json.

Run it with ``docker compose`` on PATH.  The recorded files are of Docker Compose 2.40.3,
built from its Go module; the folder's own path is written as FOLDER.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def config_of(folder):
    argv = ["docker", "compose", "--profile", "*", "config", "--format", "json"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.replace(str(folder), "FOLDER").replace(str(folder.parent), "PARENT")


def copied(name, folder):
    """Copy a case to a folder whose name has to be normalised for the project's name."""
    return Path(shutil.copytree(HERE / name, folder / "Dms.Mail"))


if __name__ == "__main__":
    for case in sorted(each for each in HERE.iterdir() if (each / "compose.yaml").exists()):
        with tempfile.TemporaryDirectory() as parent:
            (case / "config.json").unlink(missing_ok=True)
            text = config_of(copied(case.name, Path(parent)))
        (case / "config.json").write_text(text + "\n")
