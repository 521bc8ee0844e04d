"""Write the lock files and the conda environment file from pyproject.toml (`make lock`).

Needs `uv` on the PATH. Versions that are locked already are kept unless `--upgrade` (or
`--upgrade-package NAME`) is given: arguments are handed on to `uv pip compile`.
"""

import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ENVS = Path(__file__).resolve().parent
PROJECT = ENVS.parent / "pyproject.toml"
MAIN_LOCK = ENVS / "requirements.txt"
# What results depend on most is pinned here. pyproject.toml has bounds only: `pip install .` must
# not replace a user's own PyTorch.
PINS = ENVS / "pins.txt"
# The Python of the conda environment; the oldest that the lock files are resolved for.
PYTHON = "3.11"


def compile_lock(source: list[str], output: Path, arguments: list[str], stdin: str = "") -> None:
    """Resolve `source` for every platform and Python >= 3.11 into `output`, with hashes."""
    subprocess.run(
        [
            *("uv", "pip", "compile", *source, "--output-file", str(output), "--quiet"),
            *("--universal", "--python-version", PYTHON, "--generate-hashes"),
            *("--no-emit-index-url", "--no-emit-find-links"),
            *("--custom-compile-command", "make lock", *arguments),
        ],
        input=stdin,
        text=True,
        check=True,
        cwd=ENVS.parent,
    )


def locked_versions(lock: Path) -> dict[str, str]:
    """Return name -> version of the lock's lines that apply to Linux and `PYTHON`."""
    environment = {
        "python_version": PYTHON,
        "python_full_version": f"{PYTHON}.0",
        "sys_platform": "linux",
        "platform_machine": "x86_64",
    }
    versions = {}
    for line in lock.read_text().splitlines():
        if not line or line[0] in " #":
            continue
        pin, _, marker = line.rstrip("\\ ").partition(" ; ")
        if not marker or Marker(marker).evaluate(environment):
            name, _, version = pin.partition("==")
            versions[canonicalize_name(name)] = version
    return versions


def conda_environment(dependencies: list[str], versions: dict[str, str]) -> str:
    """Return the conda environment file with each direct dependency at its locked version."""
    names = sorted(canonicalize_name(Requirement(text).name) for text in dependencies)
    pins = "".join(f"      - {name}=={versions[name]}\n" for name in names)
    return (
        "# Written by `make lock`: the direct dependencies at the versions of requirements.txt.\n"
        "name: perturb\n"
        "channels:\n  - conda-forge\n  - nodefaults\n"
        f"dependencies:\n  - python={PYTHON}\n  - pip\n  - pip:\n{pins}"
    )


def main(arguments: list[str]) -> None:
    """Write envs/requirements.txt, slurm.txt, bench.txt and perturb.yaml."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    extras = project["optional-dependencies"]
    main = [PROJECT.name, "--extra", "models", "--extra", "dev"]
    compile_lock([*main, "--constraints", str(PINS.relative_to(ENVS.parent))], MAIN_LOCK, arguments)
    for extra in ("slurm", "bench"):
        requirements = "\n".join(extras[extra])
        output = ENVS / f"{extra}.txt"
        compile_lock(["-", "--constraints", str(MAIN_LOCK)], output, arguments, requirements)
    direct = [*project["dependencies"], *extras["models"]]
    text = conda_environment(direct, locked_versions(MAIN_LOCK))
    (ENVS / "perturb.yaml").write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
