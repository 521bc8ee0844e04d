import pytest

from perturb.analysis import printers
from perturb.analysis.parts import comparison_parts
from perturb.figures.style import save
from perturb.files import read_json
from perturb.landscape.files import write_plane
from perturb.landscape.parts import parts as landscape_parts
from perturb.runs import Run
from perturb.studies.rts.figures import SCHEDULES
from perturb.study import Page, load
from tests.analysis.study import chapter_of, make_plan, write_study
from tests.landscape.planes import make_plane


@pytest.fixture(scope="session")
def plan():
    return make_plan()


@pytest.fixture(scope="session")
def chapter(plan):
    """The chapter of a made-up study: its table, that of its landscapes, two figures, a page."""
    run = Run("digits", "cnn", "sgd_30", 0)
    landscapes = landscape_parts(
        plan,
        planes=[f"landscapes/{run}/plane0.npz"],
        trajectories=[],
        curvatures=[],
        records=[run.record],
        flat_margin=0.1,
        stem="landscape_digits",
        sharpness=False,
    )
    records = [run.record for run in plan.runs() if run.method != "gsam_0.05_0.01_30"]
    listed = comparison_parts(plan, records, {"schedules": SCHEDULES})
    cuts = [part for part in landscapes if part.kind == "table" or part.name == "landscape_cuts"]
    pages = (Page("sgd_30, seed 0", f"landscapes/{run}/plane0.html"),)
    return chapter_of(plan, parts=(*listed, *cuts), pages=pages)


@pytest.fixture(scope="session")
def results(tmp_path_factory, plan, chapter):
    """A results folder with everything that the chapter is made of, each part by its maker."""
    folder = tmp_path_factory.mktemp("results")
    write_study(folder, plan, missing=("gsam_0.05_0.01_30",))
    record = read_json(folder / Run("digits", "cnn", "sgd_30", 0).record)
    known = {"versions": {"torch": "2"}, "code_sha256": "e" * 64}
    plane = make_plane(
        lambda x, y: 0.1 + x * x + y * y,
        11,
        checkpoint_sha256=record["sha256"]["final_weights"],
        **known,
    )
    write_plane(folder / "landscapes/digits/cnn/sgd_30/seed0/plane0.npz", plane)
    for part in chapter.parts:
        make_part(folder, chapter, part)
    return folder


def make_part(folder, chapter, part):
    """Make one part of a chapter and write its files, as the workflow's rules do."""
    inputs = {
        kind: [folder / path for path in paths if (folder / path).exists()]
        for kind, paths in part.inputs.items()
    }
    made = load(part.make)(part.settings, inputs, folder)
    stem = chapter.stem(part)
    if part.kind == "table":
        assert made.name == stem
        printers.write(made, folder / "tables")
    else:
        for kind in ("pdf", "png"):
            save(made, folder / "figures" / chapter.name / f"{part.name}.{kind}")
