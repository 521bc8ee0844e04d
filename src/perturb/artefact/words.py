"""What an artefact says to its reader, and the options that its Makefile takes."""

from __future__ import annotations

from perturb.artefact.contents import WEIGHTS, Chosen
from perturb.artefact.settings import ArtefactSettings

_README = """\
# {title}

Code, configuration and results of a study, packed by perturb (`snakemake artefact`). What is in
this folder is described for machines in `ro-crate-metadata.json`, and for people here.

| what | where |
|---|---|
| the report, and the results section as LaTeX | `{place}/report.html`, `{place}/section.tex` |
| tables with the runs that each cell is from, figures | `{place}/tables`, `{place}/figures` |
| each run: settings, hashes, device, versions, epochs | `{place}/runs/**/record.json` |
| what was asked for | `config/config.yaml`, `config/studies`{given_files} |
| every package, by version and hash | `envs/requirements.txt` |
| the code | `Snakefile`, `workflow`, `src` |
| checksums of all files | `SHA256SUMS` |

## Check it

```sh
sha256sum --check --quiet SHA256SUMS       # every file is the one that was packed
make verify                                # sets up .venv first: Python 3.11, about 6 GB
```

`make verify` checks the same list, then every record and hash, makes tables, figures and report
again and compares every byte, and trains one run again, to the same bits on a machine and with
versions like those that its record names. In an environment that has the packages already:

```sh
PYTHONPATH=src python -m snakemake --cores 1 {options}-- verify
```

and with more runs trained again, others than with seed 0:

```sh
PYTHONPATH=src python -m snakemake --cores 1 {more} -- verify
```

## What is not in it

{left_out}
Times (`timing.csv`, benchmarks), logs, unfinished state and audits are no part of an artefact.
After changes of your own delete `{place}/artefact.json`: this folder then is a checkout like any
other, and `make` goes on in it.
"""


_MORE = "'verify={retrain: 3, seed: 1}'"


def readme(title: str, place: str, given: str, chosen: Chosen, settings: ArtefactSettings) -> str:
    """Return the page that a reviewer reads first."""
    weights = sum(name.endswith(WEIGHTS) for name in chosen.left_out)
    images = len(chosen.left_out) - weights
    lines = []
    if weights:
        lines.append(
            f"Weights and directions of landscapes (files: {weights}). A run that is trained again "
            "makes its own, and its record has their hashes."
        )
    if images:
        lines.append(
            f"Prepared images (files: {images}). `snakemake -- {place}/data/<data set>.npz` makes "
            "them from the official distribution below `data_root`; runs can be trained again then."
        )
    return _README.format(
        title=title,
        place=place,
        options=f"{given} " if given else "",
        more=f"{given} {_MORE}" if "--config " in given else f"{given} --config {_MORE}".strip(),
        given_files=f"; given: `{given}`" if given else "",
        left_out="\n".join([*lines, ""] if lines else []),
    )


def makefile(given: str, place: str) -> str:
    """Return what the Makefile includes: the configuration that the results were made with."""
    return (
        "# The configuration of this artefact's results, and where they are.\n"
        f"GIVEN := {_for_make(given)}\n"
        f"ifeq ($(CONFIG),)\nRESULTS := {_for_make(place)}\nendif\n"
    )


def _for_make(text: str) -> str:
    return text.replace("$", "$$").replace("#", r"\#")
