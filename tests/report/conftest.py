import json

import pytest

from perturb.analysis import formats, runs, tables
from perturb.figures import registry, style
from perturb.figures.material import gather
from perturb.landscape import table as landscape_table
from perturb.landscape.table import Checkpoint
from perturb.report.material import chapters
from tests.analysis.study import make_plan, write_study
from tests.landscape.planes import make_plane


@pytest.fixture(scope="session")
def plan():
    return make_plan()


@pytest.fixture(scope="session")
def results(tmp_path_factory, plan):
    """A results folder with a table and two figures."""
    folder = tmp_path_factory.mktemp("results")
    records = write_study(folder, plan, missing=("gsam_0.05_0.01_30",))
    table = tables.build(plan, runs.collect(records))
    names = {kind: folder / "tables" / f"digits.{kind}" for kind in ("csv", "md", "tex")}
    formats.write(table, **names)
    material = gather(plan, records)
    for name in ("schedules", "curves_scale"):
        for kind in ("pdf", "png"):
            path = folder / "figures" / "digits" / f"{name}.{kind}"
            style.save(registry.draw(name, material), path)
    checkpoint = Checkpoint("sgd_30", 0, {0: make_plane(lambda x, y: 0.1 + x * x + y * y, 11)})
    scalars = {
        kind: folder / "tables" / f"landscape_digits.{kind}" for kind in ("csv", "md", "tex")
    }
    landscape_table.write(landscape_table.build([checkpoint]), **scalars, dataset="digits")
    return folder


@pytest.fixture
def found(results, plan):
    figures = sorted((results / "figures" / "digits").iterdir())
    names = [results / "tables" / f"{name}.csv" for name in ("digits", "landscape_digits")]
    page = results / "landscapes/digits/cnn/sgd_30/seed0/plane0.html"
    return chapters(json.dumps([plan]), names, figures, [page])
