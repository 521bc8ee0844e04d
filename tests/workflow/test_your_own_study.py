"""docs/your-own-study.md, followed to the letter: its files written, its commands run."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

_FILE = r"\*\*`([^`]+)`\*\*[^\n]*\n\n```\w+\n(.*?)```"
_STEP = re.compile(rf"{_FILE}|```sh\n(.*?)```", re.S)
_IN_A_FILE = {"src/perturb/models/registry.py": "    for model in (\n"}


def make_photographs(folder: Path, size: int) -> None:
    """Write three classes of twelve images, each class of its own brightness."""
    random = np.random.default_rng(0)
    for label, name in enumerate(("cat", "dog", "owl")):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            pixels = random.integers(60 * label, 60 * label + 80, (size, size), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def test_the_page_gives_what_it_says(make_checkout, root):
    checkout = make_checkout(values=None)
    make_photographs(checkout.path / "photographs", 16)
    make_photographs(checkout.path / "more-photographs", 8)
    page = (root / "docs" / "your-own-study.md").read_text()
    bin_folder = Path(sys.executable).parent
    environment = {"PATH": f"{bin_folder}:/usr/bin:/bin", "PYTHONPATH": "src", "HOME": "/tmp"}
    said = []
    for name, content, commands in _STEP.findall(page):
        path = checkout.path / name
        if name in _IN_A_FILE:
            text, anchor = path.read_text(), _IN_A_FILE[name]
            assert anchor in text
            path.write_text(text.replace(anchor, anchor + content, 1))
        elif name:
            path.write_text(content)
        for command in commands.strip().splitlines():
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=checkout.path,
                env=environment,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
            said.append(done.stdout + done.stderr)
    # Each of the two configurations knows what the other has made, and calls nothing of it wrong.
    mine, both = (
        subprocess.run(
            [
                "bash",
                "-c",
                f"snakemake --configfile {files} --config 'verify={{retrain: 0}}' -- verify",
            ],
            cwd=checkout.path,
            env=environment,
            capture_output=True,
            text=True,
        )
        for files in ("mine.yaml", "mine.yaml more.yaml")
    )
    assert mine.returncode == 0, mine.stdout + mine.stderr
    assert "Not of this configuration: runs (signs/perceptron/pugd_3: 3)" in mine.stdout
    assert "files of tables (signs: 6)" in mine.stdout
    assert both.returncode == 0, both.stdout + both.stderr
    assert "report.html: made with another configuration (--configfile mine.yaml)" in both.stdout
    results = checkout.results / "mine"
    faces = pd.read_csv(results / "tables" / "faces.csv").set_index("method")
    assert list(faces.index) == ["sgd_5", "pugd_5", "sam_0.05_5"]
    assert set(faces["seeds_finished"]) == {3}
    signs = pd.read_csv(results / "tables" / "signs.csv").set_index("method")
    assert list(signs.index) == ["sgd_3", "extragradient_0.05_3", "pugd_3"]
    assert "base" in signs.loc["pugd_3", "mixed"]
    report = (results / "report.html").read_text()
    assert "<h1>Methods compared on faces</h1>" in report
    assert "snakemake --cores 2 --configfile mine.yaml -- results/mine/tables/faces.csv" in report
    assert "faces: 9 runs" in said[0]
    assert "9 finished, 0 to do" in said[-2]
