"""The lock files, the conda file and what is installed say the same."""

import re
import sys
import sysconfig
import tomllib
from importlib.metadata import distributions, requires, version
from pathlib import Path

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
ENVS = ROOT / "envs"
LOCKS = ["requirements.txt", "slurm.txt", "bench.txt"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
CONDA_PYTHON = {
    "python_version": "3.11",
    "python_full_version": "3.11.0",
    "sys_platform": "linux",
    "platform_machine": "x86_64",
}


def read_lock(name: str) -> list[tuple[str, str, str, list[str]]]:
    """Return (name, version, marker, hashes) of each requirement of a lock file."""
    text = (ENVS / name).read_text()
    header = text[: text.index("==")]
    assert "make lock" in header, f"{name}: the header does not say how to regenerate it"
    lines = [line for line in text.splitlines() if not re.match(r"\s*(#|$)", line)]
    locked = []
    for block in re.split(r"(?<!\\)\n", "\n".join(lines)):
        requirement, *hashes = re.split(r"\s*\\\n\s*", block)
        pin = re.fullmatch(r"([a-z0-9.-]+)==([0-9][0-9a-z.+]*)(?: ; (.+))?", requirement)
        assert pin, f"{name}: no exact version in {requirement!r}"
        assert hashes and all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", h) for h in hashes), block
        locked.append((canonicalize_name(pin[1]), pin[2], pin[3] or "", hashes))
    return locked


def versions(name: str, environment: dict[str, str] | None = None) -> dict[str, str]:
    """Return name -> version of the requirements that apply to an environment (default: here)."""
    return {
        package: pinned
        for package, pinned, marker, _ in read_lock(name)
        if not marker or Marker(marker).evaluate(environment)
    }


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_is_exact_and_hashed(lock):
    assert len(read_lock(lock)) > 5


@pytest.mark.parametrize(
    ("lock", "requirements"),
    [
        ("requirements.txt", PROJECT["dependencies"] + EXTRAS["dev"]),
        ("slurm.txt", EXTRAS["slurm"]),
        ("bench.txt", EXTRAS["bench"]),
    ],
)
@pytest.mark.parametrize("python", ["3.11", "3.12"])
def test_lock_has_every_direct_dependency_in_range(lock, requirements, python):
    environment = CONDA_PYTHON | {"python_version": python, "python_full_version": f"{python}.1"}
    locked = versions(lock, environment)
    for text in requirements:
        requirement = Requirement(text)
        pinned = locked[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pinned), f"{text} is locked at {pinned}"


@pytest.mark.parametrize("lock", ["slurm.txt", "bench.txt"])
def test_optional_locks_agree_with_the_main_one(lock):
    main = {(name, marker): (pin, hashes) for name, pin, marker, hashes in read_lock(LOCKS[0])}
    main_versions: dict[str, set[str]] = {}
    for (name, _), (pin, _) in main.items():
        main_versions.setdefault(name, set()).add(pin)
    shared = [row for row in read_lock(lock) if row[0] in main_versions]
    assert shared
    for name, pin, marker, hashes in shared:
        assert pin in main_versions[name], f"{lock}: {name}=={pin}"
        assert main.get((name, marker), (pin, hashes))[1] == hashes


def test_conda_file_agrees_with_the_lock():
    environment = yaml.safe_load((ENVS / "perturb.yaml").read_text())
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    *conda, with_pip = environment["dependencies"]
    assert conda == ["python=3.11", "pip"]
    pins = dict(line.split("==") for line in with_pip["pip"])
    locked = versions("requirements.txt", CONDA_PYTHON)
    direct = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["models"]]
    assert pins == {name: locked[name] for name in names(direct)}


def test_no_host_and_no_url():
    host = re.compile(
        r":/{2}|--(?!no-)[a-z-]+-(?:url|links|host)\b"  # of pip's options, those that name one
        r"|\b[a-z0-9-]+\.(?:org|com|net|io|dev|ai)\b"
    )
    files = [ROOT / "Makefile", ROOT / ".ci" / "run", *ENVS.iterdir()]
    for path in files:
        if path.is_file():
            found = [line for line in path.read_text().splitlines() if host.search(line)]
            assert not found, f"{path.name}: {found[0]}"


def test_torch_and_torchvision_match():
    wanted = [r for r in map(Requirement, requires("torchvision")) if r.name == "torch"]
    assert len(wanted) == 1
    assert wanted[0].specifier.contains(Version(version("torch")).public)
    locked = versions("requirements.txt")
    assert wanted[0].specifier.contains(locked["torch"])
    assert Version(version("torchvision")).public == locked["torchvision"]


def test_installed_versions_are_the_locked_ones():
    # The main lock whole; of the optional groups what is installed. Not what `version` would find:
    # setuptools puts the packages that it carries along on the path of who imports it.
    folders = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    found = {canonicalize_name(d.name): d.version for d in distributions(path=folders)}
    different = {}
    for lock in LOCKS:
        for name, pinned in versions(lock).items():
            installed = found.get(canonicalize_name(name))
            if installed != pinned and (installed or lock == LOCKS[0]):
                different[name] = (installed, pinned)
    assert not different, f"(installed, locked) in {sys.prefix}: {different}; run `make setup`"


def test_a_users_own_torch_is_bounded_and_the_lock_pins_it():
    direct = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["models"]]
    wanted = {r.name: r.specifier for r in map(Requirement, direct)}
    for name, own in (("torch", "2.11.0"), ("torchvision", "0.26.0")):
        assert wanted[name].contains(own) and "==" not in str(wanted[name])
    pins = [Requirement(line) for line in (ENVS / "pins.txt").read_text().splitlines()[1:]]
    assert {pin.name for pin in pins} == {"torch", "torchvision"}
    locked = versions("requirements.txt", CONDA_PYTHON)
    for pin in pins:
        assert str(pin.specifier) == f"=={locked[pin.name]}"
    assert 'PINS = ENVS / "pins.txt"' in (ENVS / "lock.py").read_text()


def test_nothing_that_the_library_depends_on_wants_one_version_of_torch():
    # torchvision does, and whatever depends on it: so pip would replace a torch that is there.
    waiting, seen, wanting = [*names(PROJECT["dependencies"])], set(), []
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in seen or name == "torch":
            continue
        seen.add(name)
        needed = [Requirement(text) for text in requires(name) or []]
        needed = [one for one in needed if not one.marker or one.marker.evaluate({"extra": ""})]
        wanting += [name for one in needed if one.name == "torch" and "==" in str(one.specifier)]
        waiting += [one.name for one in needed]
    assert {"torchmetrics", "huggingface-hub", "snakemake"} <= seen
    assert wanting == []
