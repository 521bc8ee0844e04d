"""Runs that nobody made, for tests of the store that need no torch."""

import random

from perturb.files import write_json

NAMES = ["epochs.csv", "last.safetensors", "checkpoints", "timing.csv", "record.json"]


def fingerprint(number=0, **more):
    code = {"perturb.optim.rules.sgd": "1"}
    return {"kind": "run", "seed": number, "specification": {}, "code": code, **more}


def make_run(results, number=0):
    """Write what a run might leave; return its folder."""
    folder = results / f"runs/digits/cnn/sgd_2/seed{number}"
    (folder / "checkpoints").mkdir(parents=True)
    draw = random.Random(number)
    (folder / "epochs.csv").write_text(f"epoch,test_accuracy\n0,{draw.random()}\n")
    (folder / "last.safetensors").write_bytes(draw.randbytes(20_000))
    (folder / "checkpoints/epoch0.safetensors").write_bytes(draw.randbytes(10_000))
    (folder / "checkpoints/.snakemake_timestamp").touch()
    (folder / "timing.csv").write_text(f"epoch,seconds\n0,{draw.random()}\n")
    write_json(folder / "record.json", {"seed": number, "status": "ok"})
    return folder


def bytes_of(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("[!.]*"))
        if path.is_file()
    }


def flip(path, draw):
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def record(**more):
    return {
        "study": "rts",
        "dataset": "digits",
        "model": "cnn",
        "method": "sgd_2",
        "seed": 0,
        "scale": "full",
        "specification": {"momentum": 0.9, "base": "sgd", "betas": (0.9, 0.999)},
        "device": "cpu",
        "threads": 1,
        "versions": {"torch": "2", "perturb": "1"},
        "partial_data": False,
        "sha256": {"data": "d", "split": "s", "initial_weights": "i"},
        "code": {"perturb.train.run": "1"},
    } | more
