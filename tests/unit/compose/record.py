"""Records the output of the real Docker Compose for each folder here, in its config.json."""

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
