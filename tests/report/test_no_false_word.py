"""Reports of small studies of one's own: what a reader would find untrue is not in them."""

import re

import pytest
from matplotlib.figure import Figure

from perturb import preflight, studies
from perturb.analysis import printers
from perturb.config import Config
from perturb.errors import PerturbError
from perturb.figures import style
from perturb.report import html, reading, section
from perturb.runs import Run
from perturb.study import load
from tests.analysis.study import write_run
from tests.report.test_report import Page

DOT = style.render(Figure((0.1, 0.1)), "png")
OWN = {"model": "cnn", "epochs": 5, "landscape": {"methods": []}}


class Study:
    """A study of made-up runs: its configuration, and its report as a reader sees it."""

    def __init__(self, root, raw_config, folder, entries, **top):
        self.folder = folder
        raw_config["image_folders"] = {name: "photographs" for name in entries}
        raw_config["chapters"] = list(entries)
        raw_config["rts"]["datasets"] |= {name: OWN | entry for name, entry in entries.items()}
        raw_config.update(top)
        self.config = Config(raw_config, root / "config" / "schema.yaml")
        self.chapters = studies.asked(self.config)

    def make(self, diverged=(), missing=(), **changed):
        """Write every run and make the tables, as the rules do; `changed` of each record."""
        for run in [run for chapter in self.chapters for run in chapter.runs]:
            if str(run) not in missing:
                changes = {"dataset": run.dataset, "model": run.model} | changed
                write_run(
                    self.folder, run.method, run.seed, diverged=str(run) in diverged, **changes
                )
        # The ranking is made of the other tables.
        for chapter in sorted(self.chapters, key=lambda one: not one.runs):
            for part in chapter.tables:
                inputs = {
                    kind: [self.folder / path for path in paths if (self.folder / path).exists()]
                    for kind, paths in part.inputs.items()
                }
                made = load(part.make)(part.settings, inputs, self.folder)
                printers.write(made, self.folder / "tables")
        return self

    def report(self, monkeypatch, given=""):
        """Return the report's text; its pictures are not drawn."""
        monkeypatch.setattr(html, "read_bytes", lambda path: DOT)
        title = studies.title(self.config)
        text = html.render(self.chapters, self.folder, title=title, given=given)
        page = Page(text)
        assert not page.stack
        return " ".join(" ".join(page.words).split())


@pytest.fixture
def study(root, raw_config, tmp_path):
    def make(top=(), **entries):
        return Study(root, raw_config, tmp_path / "results", entries, **dict(top))

    return make


def test_a_reference_of_sgd_is_not_said_to_compute_twice_its_own_gradients(study, monkeypatch):
    methods = {"methods": ["sgd", "sgd_10", "pugd"], "sgd": "sgd", "sgd_double": "sgd_10"}
    said = study(mine=methods).make().report(monkeypatch)
    assert "twice the gradients" not in said and "sgd_5 at twice the epochs" in said
    assert "sgd_5 and sgd_10 over epochs (left) and over the batch gradients" in said
    assert "At twice the epochs and 2 times the gradient evaluations, the difference of sgd_10" in (
        said
    )
    assert "At equal" not in said
    only = study(mine={"methods": ["sgd", "pugd"], "sgd": "sgd"}).make().report(monkeypatch)
    assert "over the batch gradients" not in only, "one method is no comparison of costs"


def test_at_equal_cost_is_said_where_it_is(study, monkeypatch):
    entry = {"methods": ["pugd", "sgd", "sgd_10"], "sgd": "sgd", "sgd_double": "sgd_10"}
    said = study(mine=entry).make().report(monkeypatch)
    assert "At equal epochs and 0.5 times the gradient evaluations, the difference of sgd_5" in said
    assert "At equal gradient evaluations, the difference of sgd_10 to pugd_5" in said
    # By their names: "SGD" would be false where the base optimiser is another.
    assert "sgd_5 against pugd_5" in said and "SGD against" not in said


def test_nothing_is_said_of_what_was_not_run(study, monkeypatch):
    said = study(mine={"methods": ["pugd", "sam_0.05"]}).make().report(monkeypatch)
    said = said.replace("base optimiser SGD", "")  # which took the steps
    assert "SGD" not in said and "sgd" not in said
    assert "for pugd_5: mean over seeds" in said


def test_schedules_are_those_that_were_run(study):
    def figures(*methods):
        chapter = study(mine={"methods": list(methods)}).chapters[0]
        return {part.name for part in chapter.figures}

    assert "schedules" not in figures("sgd", "pugd", "pugdt_2")
    assert "schedules" in figures("sgd", "pugdr_isin_2_0.01")


def test_commands_name_the_configuration(study, monkeypatch):
    made = study(mine={"methods": ["sgd", "pugd"]}).make()
    said = made.report(monkeypatch, "--configfile mine.yaml --config 'seeds=[0, 1]'")
    commands = re.findall(r"snakemake --cores \d (.*?) -- ", said)
    assert commands and set(commands) == {"--configfile mine.yaml --config 'seeds=[0, 1]'"}


def test_words_of_the_first_study_are_not_said_of_another(study, monkeypatch):
    entry = {"methods": ["sgd", {"method": "pugd", "published": 0.935}], "epochs": 1}
    made = study(mine=entry).make()
    said = made.report(monkeypatch)
    for word in ("notebook", "Notebook", "from400", "1 epochs", "When and how much to perturb"):
        assert word not in said, word
    assert said.startswith("Methods compared on mine")
    assert ", 1 epoch, every train image trained on, the test split also as validation" in said
    assert "Published: as the configuration gives it, from elsewhere." in said
    tex = section.render(made.chapters, made.folder)
    assert "otebook" not in tex and "1 epochs" not in tex
    named = study(mine=entry | {"published_by": "by Li et al., their best epoch"}).make()
    assert "Published: by Li et al., their best epoch." in named.report(monkeypatch)


def test_of_one_seed_no_interval_or_spread_is_spoken(study, monkeypatch):
    said = study(mine={"methods": ["sgd", "pugd"], "seeds": [0]}).make().report(monkeypatch)
    for word in ("t interval", "standard deviation", "seeds)", "Detectable:", "mean over seeds"):
        assert word not in said, word
    assert "(1 seed)" in said and "Fewer than 3 seeds to compare, so no verdict: pugd_5." in said


def test_one_method_is_compared_with_nothing(study, monkeypatch):
    said = study(mine={"methods": ["pugd"]}).make().report(monkeypatch)
    assert "What test accuracy does pugd_5 end at?" in said and "Finished: all 3 runs" in said
    assert "There is no other method to compare with it." in said
    assert "Difference: to" not in said and "Verdicts" not in said


def test_what_diverged_or_is_missing_is_in_no_sentence_of_success(study, monkeypatch):
    entry = {"methods": ["sgd", "pugd", "sam_0.05"]}
    made = study(mine=entry).make(
        diverged=[str(Run("mine", "cnn", "pugd_5", 1))],
        missing=[str(Run("mine", "cnn", "sam_0.05_5", seed)) for seed in range(3)],
    )
    said = made.report(monkeypatch)
    assert "Which of 2 methods end at a higher test accuracy than sgd_5?" in said
    assert "Finished: 5 of 9 runs" in said and "All have one kind of device" not in said
    assert "Diverged: pugd_5 (diverged 1 of 3" in said
    assert "Runs are missing of sam_0.05_5." in said


def test_without_the_reference_nothing_is_said_of_differences(study, monkeypatch):
    gone = [str(Run("mine", "cnn", "sgd_5", seed)) for seed in range(3)]
    said = study(mine={"methods": ["sgd", "pugd"]}).make(missing=gone).report(monkeypatch)
    assert "The reference sgd_5 has no finished run, so nothing is compared." in said
    assert "Difference: to" not in said


def test_two_data_sets_without_a_common_method_are_not_ranked(study, monkeypatch):
    made = study(
        mine={"methods": ["sgd", "pugd"]}, other={"methods": ["sam_0.05", "asam_0.5"]}
    ).make()
    said = made.report(monkeypatch)
    assert said.startswith("Methods compared on mine and other")
    assert "mean rank" not in said
    assert preflight.remarks(made.config) == [
        "no ranking over mine, other: they have fewer than two methods in common"
    ]


def test_where_no_common_method_finished_the_ranking_says_so(study, monkeypatch):
    both = {"methods": ["sgd", "pugd"]}
    gone = [str(Run("other", "cnn", f"{name}_5", n)) for name in ("sgd", "pugd") for n in range(3)]
    made = study(mine=both, other=both).make(missing=gone)
    said = made.report(monkeypatch)
    assert "No method finished on each of mine and other: there is nothing to rank." in said
    assert "the best mean rank" not in said
    part = next(part for part in made.chapters[0].figures)
    inputs = {kind: [made.folder / path for path in paths] for kind, paths in part.inputs.items()}
    assert load(part.make)(part.settings, inputs, made.folder).axes


def test_a_ranking_tells_ties_and_calls_methods_by_their_names(study, monkeypatch):
    both = {"methods": ["sgd", "pugd"]}
    said = study(mine=both, other=both).make().report(monkeypatch)
    assert "pugd_5 and sgd_5 share the best mean rank: 1.50 among 2 methods." in said
    assert "_100" not in said and "in percent of the reference" not in said
    twice = {**both, "epochs": 10}
    said = study(mine=both, other=twice).make().report(monkeypatch)
    explained = said.index("one that ends in _100 trains for as many epochs as the reference")
    assert explained < said.index("pugd_100 and sgd_100 share the best mean rank: 1.50 among 2")


def test_two_models_are_told_apart(study, monkeypatch):
    made = study(mine={"methods": ["sgd", "resnet18_sgd", "resnet18_pugd"]}).make()
    said = made.report(monkeypatch)
    assert "model resnet18_imagenet (reference: cnn)" in said
    assert "the same initial weights" not in said
    assert "cnn and resnet18_imagenet on mine" in said


def test_a_label_with_braces_and_a_title_reach_page_and_section(study, monkeypatch):
    label = "$\\rho${x} & 50 % <b>#_~^"
    entry = {"methods": ["sgd", {"method": "pugd", "label": label}], "title": "Mine {a}\nb"}
    made = study(mine=entry).make()
    said = made.report(monkeypatch)
    assert said.startswith("Mine {a} b") and label in said
    tex = (made.folder / "tables" / "mine.tex").read_text()
    assert r"\textbackslash{}rho\$\{x\} \& 50 \% \textless{}b\textgreater{}\#\_" in tex


@pytest.mark.parametrize("ending", ["csv", "html", "tex"])
def test_an_edited_number_reaches_neither_report_nor_section(study, monkeypatch, ending):
    made = study(mine={"methods": ["sgd", "pugd"]}).make()
    made.report(monkeypatch)
    path = made.folder / "tables" / f"mine.{ending}"
    text = path.read_text()
    path.write_text(text.replace("0.9", "0.8", 1).replace("9", "8", 1))
    for render in (html.render, section.render):
        if render is section.render and ending == "html":
            continue  # the section does not show it
        with pytest.raises(PerturbError, match=rf"mine\.{ending}: edited by hand or damaged"):
            render(made.chapters, made.folder)
    assert reading.read_text  # as rules read it


def test_the_base_optimiser_and_its_settings_are_named(study, monkeypatch):
    made = study(mine={"methods": ["sgd", "sam_0.05"]})
    said = made.make(specification={"base": "adamw"}).report(monkeypatch)
    assert "Plain SGD" not in said and "SGD" not in said
    assert "The gradient itself, taken by AdamW." in said
    assert "Training: base optimiser AdamW, learning rate 0.1, batch size 100, " in said
    assert "momentum" not in said
    both = {"methods": ["sgd", "sam_0.05"]}
    ranked = study(mine=both, other=both).make(specification={"base": "adamw"}).report(monkeypatch)
    assert ranked.count("The gradient itself, taken by AdamW.") == 3, "two tables and the ranking"
    assert "Plain SGD" not in ranked


def test_a_row_of_another_reference_is_asked_about_by_itself(study, monkeypatch):
    methods = ["sgd", "sgd_10", "pugd", {"method": "asam_0.5", "reference": "pugd"}]
    said = study(mine={"methods": methods}).make().report(monkeypatch)
    assert "Which of 2 methods end at a higher test accuracy than sgd_5?" in said
    assert "Does asam_0.5_5 end at a higher test accuracy than pugd_5?" in said
    assert "data and settings, but for the epochs that their names give" in said
    alone = study(mine={"methods": ["sgd", "pugd"]}).make().report(monkeypatch)
    assert "data and settings." in alone


def test_of_one_seed_no_single_seeds_are_spoken_of(study):
    for seeds, several in (([0], False), ([0, 1, 2], True)):
        chapter = study(mine={"methods": ["sgd", "pugd"], "seeds": seeds}).chapters[0]
        captions = " ".join(part.caption for part in chapter.figures)
        assert ("single seeds" in captions) == several


def test_the_title_of_a_study_stands_over_its_own_methods_only(raw_config, root):
    schema = root / "config" / "schema.yaml"
    raw_config["chapters"] = ["cifar10"]
    title = raw_config["rts"]["title"]
    assert studies.title(Config(raw_config, schema)) == title
    entry = {"dataset": "digits", "model": "mlp", "epochs": 2, "methods": ["sgd", "pugd"]}
    raw_config["rts"]["datasets"]["one"] = entry
    own = raw_config | {"chapters": ["one"]}
    assert studies.title(Config(own, schema)) == "Methods compared on digits"
    raw_config["rts"]["datasets"]["cifar10"]["methods"] = ["sgd_30", "pugd_30"]
    for key in ("reference", "sgd", "sgd_double", "landscape"):
        raw_config["rts"]["datasets"]["cifar10"].pop(key, None)
    assert studies.title(Config(raw_config, schema)) == "Methods compared on cifar10"
    entry["title"] = "Mine"
    assert studies.title(Config(own, schema)) == "Mine"
