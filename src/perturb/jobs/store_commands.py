"""The store on the command line: `python -m perturb.jobs.store list|size|clean|restore|keep`."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from perturb import runs, studies
from perturb.config import Config
from perturb.errors import PerturbError
from perturb.jobs.store import DAMAGED, DamagedEntry, Entry, Store
from perturb.search.listing import listed

DAY = 86400.0
ROOT = Path(__file__).parents[3]
Chosen = Callable[[Entry], bool]


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says; a user's error is one message and exit 1."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` is no error
    chosen = _parser().parse_args(arguments)
    try:
        if not chosen.store.is_dir():
            raise PerturbError(
                f"no store {chosen.store}. Name its folder with --store, as the configuration does."
            )
        chosen.command(Store(chosen.store), chosen)
    except (PerturbError, OSError) as error:
        sys.exit(f"perturb: {error}")


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--store", type=Path, default=Path("results/store"), help="default: results/store"
    )
    which = argparse.ArgumentParser(add_help=False)
    which.add_argument("--key", default="", help="beginning of an entry's key")
    which.add_argument("--code", default="", help="beginning of the hash of the code that made it")
    which.add_argument("--commit", default="", help="beginning of the commit that made it")
    which.add_argument("--folder", default="", help="beginning of its folder: runs/digits/cnn")
    parser = argparse.ArgumentParser(prog="python -m perturb.jobs.store", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[Store, Any], None], *parents: Any) -> Any:
        first = (command.__doc__ or "").partition(".")[0]
        made = commands.add_parser(name, parents=[shared, *parents], help=first, description=first)
        made.set_defaults(command=command)
        return made

    add("list", list_entries, which)
    add("size", show_size)
    clean = add("clean", clean_entries, which)
    clean.add_argument("--older-than", type=float, metavar="DAYS", help="since it was last used")
    clean.add_argument(
        "--not-asked", action="store_true", help="whose run no chapter of the configuration has"
    )
    clean.add_argument("--configfile", type=Path, nargs="*", default=[], help="as for snakemake")
    clean.add_argument("--damaged", action="store_true", help="what was set aside, instead")
    clean.add_argument("--yes", action="store_true", help="remove; else it is only listed")
    restore = add("restore", restore_entries, which)
    restore.add_argument("--to", type=Path, required=True, help="another results folder")
    keep = add("keep", keep_runs)
    keep.add_argument("results", type=Path, help="results folder, whose finished runs are kept")
    return parser


def list_entries(store: Store, chosen: argparse.Namespace) -> None:
    """List what is kept, the oldest first: when, size, key, code, commit, folder."""
    print(_table(_chosen(store, chosen)))


def show_size(store: Store, chosen: argparse.Namespace) -> None:
    """Say how large it is, and how much of it no results folder has beside it."""
    entries = list(store.entries())
    kinds = Counter(entry.made_from["kind"] for entry in entries)
    of_kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "nothing"
    whole, alone = sum(entry.bytes for entry in entries), sum(map(_bytes_alone, entries))
    print(f"{store.folder}: {of_kinds}")
    print(f"{_bytes(whole)}, of which {_bytes(alone)} are in no results folder, too")
    for folder in store.left_overs():
        print(f"left by a killed process: {folder}")
    for folder in sorted((store.folder / DAMAGED).glob("*")):
        print(f"damaged and set aside: {folder}")


def clean_entries(store: Store, chosen: argparse.Namespace) -> None:
    """Remove what all given conditions hold for; without --yes it is only listed.

    With --yes, what processes killed a day ago were writing goes, too.
    """
    if chosen.damaged:
        _clean_damaged(store, chosen.yes)
        return
    named = chosen.key or chosen.code or chosen.commit or chosen.folder
    if chosen.older_than is None and not chosen.not_asked and not named:
        raise PerturbError(
            "clean: say what to remove: --older-than DAYS, --not-asked, --code, --commit, --key "
            "or --folder. Nothing was removed."
        )
    entries = _chosen(store, chosen)
    if chosen.older_than is not None:
        oldest = time.time() - chosen.older_than * DAY
        entries = [entry for entry in entries if entry.used() < oldest]
    if chosen.not_asked:
        asked = _asked(_config(chosen.configfile))
        entries = [entry for entry in entries if not asked(entry)]
    print(_table(entries))
    if not chosen.yes:
        print("Nothing was removed. Add --yes to remove these.")
        return
    for entry in entries:
        store.remove(entry)
    for folder in store.left_overs():
        shutil.rmtree(folder, ignore_errors=True)
    print(f"removed {len(entries)}")


def _clean_damaged(store: Store, yes: bool) -> None:
    folders = sorted((store.folder / DAMAGED).glob("*"))
    for folder in folders:
        print(folder)
        if yes:
            shutil.rmtree(folder)
    print(f"removed {len(folders)}" if yes else "Nothing was removed. Add --yes to remove these.")


def restore_entries(store: Store, chosen: argparse.Namespace) -> None:
    """Copy what is kept into another results folder, of each file's folder the newest.

    A table can then be made of runs of older code:
    `snakemake --config partial_results=true 'pathvars={results: DIR}' -- DIR/tables/digits.csv`.
    """
    newest: dict[tuple[str, ...], Entry] = {}
    for entry in _chosen(store, chosen):
        newest[entry.folder, *sorted(entry.values["files"])] = entry
    if not newest:
        raise PerturbError(f"{store.folder}: nothing of that kind is kept. See `list`.")
    for entry in newest.values():
        if Path(entry.folder).is_absolute():
            raise PerturbError(f"{entry.path}: kept of no results folder; take its files by hand.")
        folder = chosen.to / entry.folder
        if present := [name for name in entry.values["files"] if (folder / name).exists()]:
            raise PerturbError(f"{folder / present[0]} is there already. Name an empty folder.")
        try:
            entry.check()
            entry.lay_out(folder, link=False)
        except DamagedEntry as damage:
            raise PerturbError(f"{entry.path}: damaged: {damage}.") from None
    print(f"{len(newest)} put into {chosen.to}")


def keep_runs(store: Store, chosen: argparse.Namespace) -> None:
    """Keep the finished runs of a results folder that were made without a store, or not kept."""
    target = Store(store.folder, chosen.results)
    count = 0
    for path in runs.records(chosen.results):
        record = runs.read_record(path)
        for name in record["sha256"]["files"]:
            runs.check_file(path, name, record)
        neutral = studies.get(record["study"]).specification.NEUTRAL
        names = runs.names_of(record)
        count += target.keep(runs.made_from(record, neutral), path.parent, names)
    print(f"{count} runs of {chosen.results} are kept in {store.folder}")


def _chosen(store: Store, chosen: argparse.Namespace) -> list[Entry]:
    """Return the entries that the command line names, the oldest first."""
    found = [
        entry
        for entry in store.entries()
        if entry.key.startswith(chosen.key)
        and entry.code.startswith(chosen.code)
        and entry.values["commit"].startswith(chosen.commit)
        and entry.folder.startswith(chosen.folder)
    ]
    return sorted(found, key=lambda entry: (entry.kept, entry.key))


def _table(entries: Sequence[Entry]) -> str:
    """Return a line per entry, their number and size last."""
    lines = [
        f"{entry.kept}  {_bytes(entry.bytes):>8}  {entry.key[:12]}  {entry.code[:12]}  "
        f"{entry.values['commit'] or '-':18}  {entry.made_from['kind']:10}  {entry.folder}"
        for entry in entries
    ]
    head = f"{'kept':20}  {'size':>8}  {'key':12}  {'code':12}  {'commit':18}  {'kind':10}  folder"
    total = f"{len(entries)} kept, {_bytes(sum(entry.bytes for entry in entries))}"
    return "\n".join([*([head] if lines else []), *lines, total])


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _bytes_alone(entry: Entry) -> int:
    """Return the bytes of files that are no hard link to an output."""
    stats = [
        (entry.path / name).lstat()
        for name in entry.values["files"]
        if (entry.path / name).exists()
    ]
    return sum(found.st_size for found in stats if found.st_nlink == 1)


def _config(files: Sequence[Path]) -> Config:
    """Return the configuration as Snakemake puts it together."""
    import yaml

    own = [*sorted((ROOT / "config" / "studies").glob("*.yaml")), ROOT / "config" / "config.yaml"]
    whole: dict[str, Any] = {}
    for file in [*own, *files]:
        _update(whole, yaml.safe_load(file.read_text(encoding="utf-8")))
    return Config(whole, ROOT / "config" / "schema.yaml")


def _update(whole: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, Mapping) and isinstance(whole.get(key), dict):
            _update(whole[key], value)
        else:
            whole[key] = value


def _asked(config: Config) -> Chosen:
    """Return what says whether an entry's run is one of any chapter, with its settings of today."""
    settings = {}
    results = Path(config.values.get("pathvars", {}).get("results", "results"))
    for chapter in (*studies.chapters(config), *studies.asked(config)):
        for run in (*chapter.runs, *chapter.landscape_runs, *listed(chapter, results)):
            specification = studies.specification(config, run)
            neutral = type(specification).NEUTRAL
            settings[run] = runs.without_neutral(specification.settings(), neutral)

    def asked(entry: Entry) -> bool:
        run = runs.Run(*(entry.made_from[name] for name in runs.IDENTITY))
        return settings.get(run) == entry.made_from["specification"]

    return asked
