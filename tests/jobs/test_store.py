"""The store: whole or absent, checked, shared; what is kept is what is put back."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from perturb.config import Config
from perturb.files import read_json, write_json
from perturb.jobs import store as stores
from perturb.jobs.store import (
    DAMAGED,
    ENTRY,
    NEW,
    DamagedEntry,
    Entry,
    Store,
    put_back,
    store_folder,
)
from perturb.runs import made_from, names_of
from perturb.verify.found import Verification
from perturb.verify.records import check_store

from .made_up import NAMES, bytes_of, fingerprint, flip, make_run, record

# Enough for a usual run; PERTURB_CORRUPTIONS=200 and PERTURB_KILLS=30 by hand.
CORRUPTIONS = int(os.environ.get("PERTURB_CORRUPTIONS", "40"))
KILLS = int(os.environ.get("PERTURB_KILLS", "4"))


def mounted(folder, *options):
    """Mount a small file system of its own, or skip where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount here")
    if done.returncode:
        pytest.skip("no right to mount a file system")


@pytest.fixture
def mount(tmp_path):
    """Return a function that mounts a tmpfs of some size; unmounted in the end."""
    folders = []

    def make(name, *options):
        mounted(tmp_path / name, *options)
        folders.append(tmp_path / name)
        return tmp_path / name

    yield make
    for folder in folders:
        subprocess.run(["umount", str(folder)], check=True)


def remount(folder, mode):
    subprocess.run(["mount", "-o", f"remount,{mode}", str(folder)], check=True)


def test_what_is_kept_comes_back_with_the_same_bytes(store, results, capsys):
    folder = make_run(results)
    before = bytes_of(folder)
    assert store.put_back(fingerprint(), folder) is None
    assert store.keep(fingerprint(), folder, NAMES)
    (entry,) = store.entries()
    assert entry.folder == "runs/digits/cnn/sgd_2/seed0"
    assert entry.values["commit"] == "abc123"
    assert entry.bytes == sum(map(len, before.values()))
    shutil.rmtree(folder)
    assert store.put_back(fingerprint(), folder).key == entry.key
    assert bytes_of(folder) == before
    # No copy, and none that Snakemake would take for protected.
    for name in before:
        assert (folder / name).samefile(entry.path / name)
        assert (folder / name).stat().st_mode & 0o200
    assert store.put_back(fingerprint(1), folder) is None
    assert capsys.readouterr().err == ""


def test_an_empty_folder_of_checkpoints_comes_back(store, results):
    folder = make_run(results)
    shutil.rmtree(folder / "checkpoints")
    (folder / "checkpoints").mkdir()
    store.keep(fingerprint(), folder, NAMES)
    shutil.rmtree(folder)
    assert store.put_back(fingerprint(), folder)
    assert (folder / "checkpoints").is_dir()


def test_what_one_checkout_does_to_its_outputs_is_nothing_to_another(store, results, tmp_path):
    folder, other = make_run(results), tmp_path / "other"
    before = bytes_of(folder)
    store.keep(fingerprint(), folder, NAMES)
    assert store.put_back(fingerprint(), other)
    assert bytes_of(other) == before
    was = (folder / "record.json").stat().st_mtime_ns
    for path in other.rglob("*.*"):
        os.utime(path, (1, 1))  # as Snakemake does to outputs
        if path.is_file():
            path.write_bytes(b"edited")
    assert (folder / "record.json").stat().st_mtime_ns == was
    assert bytes_of(folder) == before


def test_an_output_that_was_edited_in_place_is_not_put_back(store, results, capsys):
    folder = make_run(results)
    store.keep(fingerprint(), folder, NAMES)
    with open(folder / "epochs.csv", "a") as file:
        file.write("1,0.99\n")
    shutil.rmtree(folder)
    assert store.put_back(fingerprint(), folder) is None
    assert not folder.exists()
    said = capsys.readouterr().err
    assert "damaged: epochs.csv has" in said
    assert "set aside" in said
    assert len(list((store.folder / DAMAGED).iterdir())) == 1


def truncate(path, draw):
    os.truncate(path, draw.randrange(path.stat().st_size))


def append(path, draw):
    with open(path, "ab") as file:
        file.write(draw.randbytes(draw.randrange(1, 10)))


def zero(path, draw):
    path.write_bytes(bytes(path.stat().st_size))


def remove(path, draw):
    path.unlink()


def link_elsewhere(path, draw):
    path.unlink()
    path.symlink_to("/etc/hostname")


def make_folder(path, draw):
    path.unlink()
    path.mkdir()


def exchange(path, draw):
    others = [p for p in path.parents[1].rglob("*") if p.is_file() and p != path]
    shutil.copy(draw.choice(others), path)


WAYS = (flip, flip, flip, truncate, append, zero, remove, link_elsewhere, make_folder, exchange)


def test_every_corruption_is_noticed_and_none_put_back(store, results, tmp_path, capsys):
    draw, seen = random.Random(13), set()
    for number in range(CORRUPTIONS):
        folder = make_run(results, number)
        store.keep(fingerprint(number), folder, NAMES)
        shutil.rmtree(folder)
        place = store.entry_folder(fingerprint(number))
        file = draw.choice([path for path in sorted(place.rglob("*")) if path.is_file()])
        way = draw.choice(WAYS)
        way(file, draw)
        seen.add((way.__name__, file.name == ENTRY))
        what = f"{way.__name__} of {file.name}"
        found = Verification(results)
        check_store(found, store.folder)
        assert [(f.part, f.kind) for f in found.findings] == [("store", "edited")], what
        assert store.put_back(fingerprint(number), folder) is None, what
        assert "damaged" in capsys.readouterr().err, what
        assert not folder.exists(), what
        assert not place.exists(), what
        shutil.rmtree(store.folder / DAMAGED)
    assert len(seen) > 10


def test_an_entry_is_that_of_its_own_fingerprint_and_stays_in_its_folder(store, results, capsys):
    one, two = make_run(results, 1), make_run(results, 2)
    for number, folder in ((1, one), (2, two)):
        store.keep(fingerprint(number), folder, NAMES)
    shutil.rmtree(store.entry_folder(fingerprint(1)))
    place = store.entry_folder(fingerprint(1))
    place.parent.mkdir(exist_ok=True)
    store.entry_folder(fingerprint(2)).rename(place)
    assert store.put_back(fingerprint(1), one) is None
    assert "another fingerprint" in capsys.readouterr().err

    store.keep(fingerprint(1), one, NAMES)
    entry = Entry.read(place)
    values = read_json(place / ENTRY)
    values["files"]["../../../../evil"] = values["files"].pop("epochs.csv")
    write_json(entry.path / ENTRY, values)
    with pytest.raises(DamagedEntry, match="outside its folder"):
        Entry.read(place)


def test_another_file_system_is_copied_to_and_from_and_that_is_said(mount, results, capsys):
    store = Store(mount("elsewhere", "size=4m") / "store", results)
    folder = make_run(results)
    before = bytes_of(folder)
    assert store.keep(fingerprint(), folder, NAMES)
    (line,) = capsys.readouterr().err.splitlines()
    assert "copied into the store" in line
    (entry,) = store.entries()
    assert not (entry.path / "epochs.csv").stat().st_mode & 0o222
    shutil.rmtree(folder)
    assert store.put_back(fingerprint(), folder)
    assert bytes_of(folder) == before
    # An output that is read-only would stop the next run of Snakemake.
    assert all(p.stat().st_mode & 0o200 for p in folder.rglob("*"))
    (entry.path / "epochs.csv").chmod(0o644)
    flip(entry.path / "epochs.csv", random.Random(0))
    assert store.put_back(fingerprint(), folder) is None


def test_a_full_disk_keeps_nothing_and_the_run_is_whole(mount, results, capsys):
    store = Store(mount("full", "size=20k") / "store", results)
    folder = make_run(results)
    before = bytes_of(folder)
    assert not store.keep(fingerprint(), folder, NAMES)
    lines = [line for line in capsys.readouterr().err.splitlines() if "not kept" in line]
    assert len(lines) == 1
    assert "No space left on device" in lines[0]
    assert bytes_of(folder) == before
    assert not list(store.entries())
    assert not list((store.folder / NEW).iterdir())


def test_a_read_only_store_is_read_and_not_written(mount, results, tmp_path, capsys):
    place = mount("shared", "size=4m")
    store, folder = Store(place / "store", results), make_run(results)
    before = bytes_of(folder)
    store.keep(fingerprint(), folder, NAMES)
    store.keep(fingerprint(2), folder, NAMES)
    flip(store.entry_folder(fingerprint(2)) / "epochs.csv", random.Random(0))
    remount(place, "ro")
    try:
        capsys.readouterr()
        shutil.rmtree(folder)
        assert store.put_back(fingerprint(), folder)
        assert bytes_of(folder) == before
        assert not store.keep(fingerprint(1), folder, NAMES)
        assert "not kept in the store" in capsys.readouterr().err
        assert store.put_back(fingerprint(2), tmp_path / "nothing") is None
        assert "cannot be set aside" in capsys.readouterr().err
    finally:
        remount(place, "rw")


WORKER = """
import random, shutil, sys
from pathlib import Path
from perturb.jobs.store import Store
from tests.jobs.made_up import NAMES, bytes_of, fingerprint, make_run
folder, store, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
draw, results = random.Random(seed), folder / f"results{seed}"
shutil.rmtree(results, ignore_errors=True)
store = Store(store, results)
while True:
    number = draw.randrange(6)
    run = results / f"runs/digits/cnn/sgd_2/seed{number}"
    entry = store.put_back(fingerprint(number), run)
    if entry is None:
        shutil.rmtree(run, ignore_errors=True)
        run = make_run(results, number)
        store.keep(fingerprint(number), run, NAMES)
    print(number, entry is not None, flush=True)
    shutil.rmtree(run)
    if draw.random() < 0.3:
        for one in list(store.entries())[:1]:
            try:
                store.remove(one)
            except OSError:
                pass
"""


def start_worker(root, folder, store, seed):
    environment = os.environ | {"PYTHONPATH": f"{root / 'src'}:{root}"}
    command = [sys.executable, "-c", WORKER, str(folder), str(store), str(seed)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_killed_while_many_write_and_read_nothing_half_written_is_found(root, tmp_path, results):
    draw, store = random.Random(5), Store(tmp_path / "store", results)
    whole = {n: bytes_of(make_run(tmp_path / "whole", n)) for n in range(6)}
    said = ""
    for _ in range(KILLS):
        workers = [start_worker(root, tmp_path, store.folder, seed) for seed in range(2)]
        for worker in workers:
            worker.stdout.readline()  # it is at work
        time.sleep(draw.uniform(0.05, 0.5))
        for worker in workers:
            worker.send_signal(signal.SIGKILL)
            said += worker.communicate()[0]
        for path in store.paths():
            entry = Entry.read(path)
            entry.check()
            files = {k: v for k, v in bytes_of(path).items() if k != ENTRY}
            assert files == whole[entry.made_from["seed"]]
    assert "True" in said
    assert "False" in said
    assert not (store.folder / DAMAGED).exists()


NEUTRAL = {"base": "sgd", "betas": [0.9, 0.999]}


def test_a_fingerprint_is_what_decides_the_bytes_and_nothing_else():
    first = made_from(record(), NEUTRAL)
    made = {"status": "ok", "last": {}, "reproducible": "words"}
    hashes = record()["sha256"] | {"final_weights": "f", "files": {}, "code": "c"}
    assert made_from(record(sha256=hashes, **made), NEUTRAL) == first
    assert made_from(record(versions={"torch": "2", "perturb": "2"}), NEUTRAL) == first
    # A field that came later, at what every run before it had.
    assert made_from(record(specification={"momentum": 0.9}), NEUTRAL) == first
    for other in (
        {"versions": {"torch": "3"}},
        {"specification": {"momentum": 0.8}},
        {"sha256": record()["sha256"] | {"data": "e"}},
        {"sha256": record()["sha256"] | {"initial_weights": "e"}},
        {"code": {"perturb.train.run": "2"}},
        {"device": "cuda"},
        {"threads": 2},
        {"seed": 1},
        {"partial_data": True},
    ):
        assert made_from(record(**other), NEUTRAL) != first, other


def test_names_of_a_run_with_weights_and_of_one_without():
    files = {"epochs.csv": "", "checkpoints/epoch0.safetensors": "", "last.safetensors": ""}
    assert names_of({"sha256": {"files": files}}) == [
        "epochs.csv",
        "last.safetensors",
        "checkpoints",
        "timing.csv",
        "record.json",
    ]
    assert names_of({"sha256": {"files": {"curves.csv": ""}}}) == [
        "curves.csv",
        "timing.csv",
        "record.json",
    ]


def test_no_store_keeps_nothing_and_has_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv(stores.FOLDER_VARIABLE, "")
    assert Store.of_environment() is None
    assert not put_back(None, fingerprint(), tmp_path)


def test_the_configuration_names_it(raw_config, root):
    results = Path("results/smoke")
    for named, folder in (
        ("<results>/store", Path("results/smoke/store")),
        ("/lab/store", Path("/lab/store")),
        ("", None),
    ):
        config = Config(raw_config | {"store": named}, root / "config" / "schema.yaml")
        assert store_folder(config, results) == folder
    del raw_config["store"]
    assert store_folder(Config(raw_config, root / "config" / "schema.yaml"), results)
