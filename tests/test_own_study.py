"""A study of one's own in a few lines: short names, rows with settings, what goes before what."""

import copy
import re

import pytest
import yaml
from PIL import Image

from perturb import __main__ as command
from perturb import preflight, studies
from perturb.__main__ import main
from perturb.analysis.plan import Plan
from perturb.config import Config
from perturb.data.asked import DataSets
from perturb.data.prepared import prepare
from perturb.errors import PerturbError
from perturb.runs import Run
from tests.workflow.test_your_own_study import make_photographs


@pytest.fixture
def own(root, raw_config, tmp_path):
    """Return the checked configuration of a folder `faces`, with the entry's changes."""
    for name in ("cat", "dog"):
        folder = tmp_path / "faces" / name
        folder.mkdir(parents=True)
        for number in range(10):
            Image.new("L", (16, 16), 20 * number).save(folder / f"{number}.png")

    def make(general=(), top=(), **entry):
        raw_config["image_folders"] = {"faces": str(tmp_path / "faces")}
        raw_config["chapters"] = ["faces"]
        raw_config["train"] |= dict(general)
        raw_config.update(top)
        given = {"model": "cnn", "epochs": 5, "methods": ["sgd", "pugd", "sam_0.05"]}
        raw_config["rts"]["datasets"]["faces"] = {**given, **entry}
        config = Config(raw_config, root / "config" / "schema.yaml")
        preflight.check(config, tmp_path / "results")
        return config

    return make


def test_a_folder_that_was_never_there_is_refused_although_its_data_are_prepared(own, tmp_path):
    """Else the job that prepares it anew takes the finished data away, and fails."""
    config, results = own(), tmp_path / "results"
    seen = DataSets(config, results).content("faces")
    made = results / "data/faces.npz", results / "data/faces.manifest.json"
    made[0].parent.mkdir(parents=True)
    prepare("faces", "nowhere", npz=made[0], manifest=made[1], folder=tmp_path / "faces")
    (tmp_path / "faces").rename(tmp_path / "moved")
    preflight.check(config, results)  # what was read once stays usable
    assert DataSets(config, results).content("faces") == seen
    config.values["image_folders"]["faces"] = str(tmp_path / "phases")
    for refused in (
        lambda: preflight.check(config, results),
        lambda: DataSets(config, results).content("faces"),
    ):
        with pytest.raises(PerturbError, match=r"no folder .*phases. Correct its path"):
            refused()


def plan_of(config):
    return Plan.of(studies.chapter(config, "faces").settings["plan"])


def resolved(config, method):
    return studies.specification(config, Run("faces", "cnn", method, 0))


def test_methods_without_epochs_take_those_of_the_chapter_and_folders_their_full_names(own):
    config = own(
        methods=[
            "sgd",
            "pugd",
            "sam_0.05",
            "sgd_10",
            "pugdr_isin_2_0.01",
            "pugdt_2",
            "pugdt_accdrop",
            "pugdt_accrate_v0.001_k2",
            "pugdt_delta_xi1mu3_t1",
        ],
        sgd="sgd",
        sgd_double="sgd_10",
        landscape={"methods": ["sgd"]},
    )
    assert [row.method for row in plan_of(config).rows] == [
        *("sgd_5", "pugd_5", "sam_0.05_5", "sgd_10", "pugdr_isin_2_0.01_5", "pugdt_2_5"),
        *("pugdt_accdrop_5", "pugdt_accrate_5v0.001_k2", "pugdt_delta_5xi1mu3_t1"),
    ]
    assert (plan_of(config).reference, plan_of(config).sgd_double) == ("sgd_5", "sgd_10")
    assert studies.chapter(config, "faces").landscape_runs[0].method == "sgd_5"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"methods": ["sam_2"]}, "'sam_2' can be read as it stands, and as 'sam_2_5' with epochs"),
        ({"methods": ["sgd", "sgd_5"]}, "listed twice: sgd_5. A run's name is its method's"),
        ({"epochs": None}, "faces.epochs: nothing (the key has no value) must be of type integer"),
        ({"methods": ["pugdt_7"]}, "'7' does not fit: it lies after the last of 5 epochs"),
        ({"methods": ["sgd", 5]}, "write `{method: ...}`, or the method alone as a text"),
        ({"methods": "pugd"}, "a list: write `methods: [pugd]`"),
        (
            {"model": "cnnn"},
            "rts.datasets.faces.model: Unknown model 'cnnn'. Did you mean 'cnn'?",
        ),
        ({"model": "../cnn"}, "rts.datasets.faces.model: Unknown model '../cnn'"),
        ({"model": "my-cnn"}, "rts.datasets.faces.model: Unknown model 'my-cnn': it is not descr"),
        ({"methods": ["sgd", "a-b_sgd"]}, "faces, method 'a-b_sgd_5': Unknown model 'a-b'"),
        ({"model": "upanet16", "methods": ["resnet18_sgd"]}, ""),
        ({"sgd": "pugd_7", "methods": ["sgd", "pugd_7"]}, "sgd is SGD at the reference's epochs"),
        ({"sgd_double": "sgd"}, "it is a method of 10, not 'sgd_5'"),
        ({"methods": [{"method": "sgd", "published": 93.5}]}, "Write 0.935 for 93.5 %"),
        ({"methods": [{"method": "sgd", "train": {"protocol": "holdout"}}]}, "is one for all"),
        ({"methods": [{"method": "sgd", "train": {"learnin_rate": 1}}]}, "'learning_rate'?"),
        ({"methods": [{"method": "sgd", "train": {"nesterov": True, "momentum": 0}}]}, "nesterov"),
        ({"like": "digits", "methods": None}, "faces.methods: nothing"),
        ({"landscape": {"methods": ["ugd"]}}, "landscape method 'ugd' is not among its methods"),
    ],
)
def test_what_cannot_be_meant_is_one_message(own, entry, message):
    if not message:
        own(**entry)  # a model of its own beside the table's
        return
    with pytest.raises(PerturbError) as error:
        own(**entry)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_row_sets_its_own_training_over_its_data_sets(own):
    config = own(
        methods=["sgd", {"method": "pugd", "train": {"lr": 0.3, "base": "adamw"}}],
        train={"batch_size": 64},
    )
    assert resolved(config, "sgd_5").learning_rate == 0.1
    row = resolved(config, "pugd_5")
    assert (row.learning_rate, row.base, row.batch_size) == (0.3, "adamw", 64)


def test_what_wins_is_said(own):
    changed = {"batch_size": 64, "momentum": 0.8}
    small = "faces: a test split of 4 images, of which one is 25.0 points of accuracy"
    assert preflight.remarks(own(changed)) == [small]
    assert preflight.remarks(own(changed, train={"batch_size": 32})) == [
        "faces trains with batch_size 32, as rts.datasets.faces.train says, and not with the 64 of "
        "train: a data set's own goes before",
        small,
    ]


def test_like_takes_no_number_note_or_title_of_other_data(root, raw_config):
    datasets = raw_config["rts"]["datasets"]
    datasets["cifar10"]["title"] = "Another one's"
    datasets["faces"] = {"like": "cifar10", "model": "cnn"}
    datasets["few"] = {"like": "cifar10", "model": "cnn", "epochs": 5, "methods": ["sgd", "pugd"]}
    raw_config["image_folders"] = {"faces": "faces", "few": "few"}
    config = Config(raw_config, root / "config" / "schema.yaml")
    for name in ("faces", "few"):
        plan = Plan.of(studies.chapter(config, name).settings["plan"])
        assert not any(row.published or row.note for row in plan.rows)
        assert plan.published == plan.published_column == ""
        assert "Another" not in plan.title
    assert [row.method for row in plan.rows] == ["sgd_5", "pugd_5"] and plan.sgd == ""
    assert studies.chapter(config, "few").landscape_runs == ()
    datasets["faces"]["epochs"] = 5
    with pytest.raises(PerturbError, match="epochs 5 is not used, for every method that is taken"):
        studies.chapters(Config(raw_config, root / "config" / "schema.yaml"))


def test_the_title_is_the_users_own_or_says_whose_images_they_are(own):
    assert studies.title(own()) == "Methods compared on faces"
    assert studies.title(own(title="Faces")) == "Faces"
    both = studies.title(own(title="Faces", top={"chapters": ["digits", "faces"]}))
    assert both == "Digits, true labels; Faces"
    many = {"chapters": ["faces", "digits", "minima_digits_smoke", "reid_patches", "fer_digits"]}
    # As the report's contents list them: with the ranking over both data sets.
    assert studies.title(own(title="Faces", top=many)) == "Faces, and 5 further chapters"
    assert studies.title(own(top={"title": "Mine"})) == "Mine"


def test_a_search_is_titled_as_one(raw_config, root):
    stage = {"stage": "lr", "method": "tuned_lr-{lr}_sgd_5", "nuisance": {"lr": [0.01, 0.1]}}
    raw_config["image_folders"] = {"birds": "birds"}
    raw_config["tune"] = raw_config.get("tune", {"title": "Searches"}) | {
        "searches": {"birds": {"model": "cnn", "stages": [stage]}}
    }
    raw_config["chapters"] = ["tune_birds"]
    config = Config(raw_config, root / "config" / "schema.yaml")
    assert studies.title(config) == "Settings searched on birds"
    assert studies.chapter(config, "tune_birds").title == "Settings searched on birds"


def test_there_is_a_list_of_what_there_is(root, capsys):
    main(["list", "--root", str(root)])
    said = capsys.readouterr().out
    for name in ("resnet18", "looksam", "adamw", "fashion_mnist", "icos", "rho 0.05"):
        assert name in said


def test_a_configuration_is_checked_without_running_anything(root, tmp_path, capsys):
    main(["check", "--root", str(root)])
    assert "digits: 55 runs" in capsys.readouterr().out
    (tmp_path / "own.yaml").write_text("chapters: [digts]\n")
    with pytest.raises(SystemExit, match="perturb: no chapter 'digts'"):
        main(["check", "--root", str(root), str(tmp_path / "own.yaml")])


def shipped_entries(root):
    """Return every entry of config/studies that compares methods: (study, data set)."""
    found = []
    for file in sorted((root / "config" / "studies").glob("*.yaml")):
        for study, section in yaml.safe_load(file.read_text(encoding="utf-8")).items():
            datasets = section.get("datasets", {}) if isinstance(section, dict) else {}
            found += [(study, dataset) for dataset, own in datasets.items() if "methods" in own]
    return found


def test_own_methods_of_any_shipped_data_set_need_no_further_key(root, raw_config):
    """What the shipped entry names beside its methods is not taken over, and that is said."""
    for study, dataset in shipped_entries(root):
        changed = copy.deepcopy(raw_config)
        entry = changed[study]["datasets"][dataset]
        name = studies.get(study).format(studies.get(study).parse(entry["methods"][-1]["method"]))
        entry["methods"] = [name]
        before = {key: entry[key] for key in ("reference", "sgd", "sgd_double") if key in entry}
        config = Config(changed, root / "config" / "schema.yaml")
        prefix = {"rts": ""}.get(study, f"{study}_")
        config.values["chapters"] = [f"{prefix}{dataset}"]
        plan = Plan.of(studies.chapter(config, f"{prefix}{dataset}").settings["plan"])
        assert (plan.reference, plan.sgd, plan.sgd_double) == (name, "", ""), dataset
        noted = [text for text in preflight.remarks(config) if "methods of your own" in text]
        left = {key: value for key, value in before.items() if value != name}
        assert len(noted) == bool(left), dataset
        assert all(f"{key} {value}" in noted[0] for key, value in left.items())
        if noted:
            assert noted[0].endswith(f"are not taken over; the reference is {name}")


def test_of_a_shipped_entry_stays_what_fits_the_own_methods(root, raw_config):
    def entry_with(**changes):
        changed = copy.deepcopy(raw_config)
        changed["chapters"] = ["digits"]
        changed["rts"]["datasets"]["digits"] |= changes
        config = Config(changed, root / "config" / "schema.yaml")
        entry = studies.get("rts").entry(config, Run("digits", "cnn", "", 0))
        noted = [text for text in preflight.remarks(config) if "methods of your own" in text]
        keys = ("reference", "sgd", "sgd_double")
        return tuple(entry.get(key) for key in keys), entry["landscape"]["methods"], noted

    def rows(*names):
        return [{"method": name} for name in names]

    kept, drawn, noted = entry_with(epochs=30, methods=rows("pugd", "sgd"))
    assert kept == ("sgd_30", "sgd_30", None) and drawn == ["sgd_30", "pugd_30"]
    assert "yaml's sgd_double sgd_60; landscapes of sam_0.2_30, pugdr" in noted[0]
    # SGD of 60 epochs is there, and is no longer twice as long as the reference.
    kept, drawn, noted = entry_with(methods=rows("pugd_60", "sgd_60"))
    assert kept == ("pugd_60", None, None) and drawn == [] and "sgd_double sgd_60" in noted[0]
    # What is taken over as it is says nothing, whatever else is changed.
    assert entry_with(train={"batch_size": 50})[2] == []


@pytest.mark.parametrize(
    ("key", "value"),
    [("reference", "sgd"), ("sgd", "ugd"), ("sgd_double", "sgd_8"), ("landscape", ["ugd"])],
)
def test_what_the_user_names_himself_must_be_among_his_methods(root, raw_config, key, value):
    entry = raw_config["rts"]["datasets"]["digits"]
    entry |= {"epochs": 2, "methods": [{"method": "pugd"}, {"method": "sam_0.05"}]}
    entry[key] = {"methods": value} if key == "landscape" else value
    with pytest.raises(PerturbError, match=f"{key}.* is not among its methods"):
        studies.chapters(Config(raw_config, root / "config" / "schema.yaml"))


def test_like_a_shipped_entry_with_own_methods_takes_no_stale_name_over(root, raw_config):
    datasets = raw_config["rts"]["datasets"]
    datasets["digits"] |= {"epochs": 2, "methods": [{"method": "sgd"}, {"method": "pugd"}]}
    datasets["digits_noise-0.2"] = {"like": "digits"}
    raw_config["chapters"] = ["digits", "digits_noise-0.2", "digits_noise-0.3"]
    config = Config(raw_config, root / "config" / "schema.yaml")
    for name in raw_config["chapters"]:
        assert Plan.of(studies.chapter(config, name).settings["plan"]).reference == "sgd_2"
    assert len([t for t in preflight.remarks(config) if "methods of your own" in t]) == 1


def page_file(root, name):
    """Return what docs/your-own-study.md writes into a file."""
    page = (root / "docs" / "your-own-study.md").read_text(encoding="utf-8")
    found = re.search(rf"\*\*`{re.escape(name)}`\*\*\n\n```yaml\n(.*?)```", page, re.S)
    assert found
    return found[1]


def test_several_learning_rates_of_one_method_as_the_page_writes_them(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_photographs(tmp_path / "photographs", 16)
    for name in ("mine.yaml", "rates.yaml"):
        (tmp_path / name).write_text(page_file(root, name), encoding="utf-8")
    said = command.check(root, [tmp_path / "mine.yaml", tmp_path / "rates.yaml"])
    assert "faces: 9 runs" in said and "faces-fast: 9 runs" in said
    config = command.configuration(root, [tmp_path / "mine.yaml", tmp_path / "rates.yaml"])
    rates = {
        run.model: studies.specification(config, run).learning_rate
        for name in ("faces", "faces-fast")
        for run in studies.chapter(config, name).runs
    }
    assert rates == {"cnn": 0.02, "cnn-slow": 0.005, "cnn-fast": 0.1}
    # The learning rate is told of the entry that it stands in.
    assert "faces-fast trains with learning_rate 0.1, as rts.datasets.faces-fast.train" in said
    assert "faces trains with" not in said
    # Both have all methods in common: that is not why there is no ranking.
    assert "each data set once, under its own name, and faces-fast has a `dataset:`" in said


@pytest.mark.parametrize("described", [False, True])
def test_what_the_messages_on_one_method_with_two_settings_say_works(own, root, described):
    """Follow the advice of both messages: the names that they write are taken."""
    model, models = ("my-cnn", {"my-cnn": {"network": "cnn"}}) if described else ("cnn", {})
    with pytest.raises(PerturbError) as twice:
        own(top={"models": models}, model=model, methods=["sgd", {"method": "sgd"}])
    name, row = re.search(r"`models: \{([^:]+): .*write `([^`]+)`", str(twice.value)).groups()
    models = models | {name: {"network": "cnn"}}
    own(top={"models": models}, model=model, methods=["sgd", row], models={name: {"lr": 0.3}})

    with pytest.raises(PerturbError) as both:
        both_train(own, models, model, model)
    said = re.search(r"Write `(models: .*?\}\})` and `model: ([^`]+)`", str(both.value))
    further = yaml.safe_load(said[1])["models"]
    both_train(own, models | further, model, said[2])


def both_train(own, models, first, second):
    """Check a data set and a further entry on it, which train these models."""
    config = own(top={"models": models}, model=first, methods=["sgd"])
    further = {"dataset": "faces", "like": "faces", "model": second, "train": {"lr": 0.1}}
    raw = copy.deepcopy(config.values)
    raw["rts"]["datasets"]["f_fast"] = further
    studies.chapters(Config(raw, config.schema))


@pytest.mark.parametrize(
    ("name", "offered"), [("my_cnn", "my-cnn"), ("MyNet", "own-mynet"), ("cnn2", "own-cnn2")]
)
def test_a_name_that_no_described_model_may_have_is_corrected(own, name, offered):
    with pytest.raises(PerturbError, match=f"models.{name}: .*Write `{offered}`"):
        own(top={"models": {name: {"network": "cnn"}}}, model=name)
    own(top={"models": {offered: {"network": "cnn"}}}, model=offered)


def test_why_there_is_no_ranking_is_the_true_reason(own):
    def noted(top, **entries):
        config = own(top={"models": {"my-cnn": {"network": "cnn"}}})
        raw = copy.deepcopy(config.values)
        raw["rts"]["datasets"] |= entries
        raw["chapters"] = [*entries, *top]
        made = Config(raw, config.schema)
        return [text for text in preflight.remarks(made) if "no ranking" in text]

    rows = {"model": "my-cnn", "epochs": 2, "methods": ["sgd", "pugd", "sam_0.05"]}
    on_cnn, on_mlp = {"dataset": "faces", **rows}, {"like": "on_cnn", "model": "mlp"}
    of_both = noted([], on_cnn=on_cnn, on_mlp=on_mlp)
    assert of_both == [
        "no ranking over on_cnn, on_mlp: a ranking takes each data set once, under its own name, "
        "and on_cnn, on_mlp have a `dataset:`"
    ]
    other = {"fashion_mnist": {**rows, "methods": ["ugd", "asam_0.5"], "epochs": 5}}
    few = noted(["faces"], on_cnn=on_cnn, **other)
    assert len(few) == 1 and "fashion_mnist, faces have fewer than two methods in common" in few[0]
    assert noted(["faces"], fashion_mnist={**rows, "epochs": 5}) == []


def test_what_to_change_is_said_where_it_stands(own):
    """The size of a folder's images, and the path of a landscape that is too short."""
    with pytest.raises(PerturbError, match=r"these have 30. Write `image_sizes: \{faces: 32\}` or"):
        own(top={"image_sizes": {"faces": 30}}, model="upanet16")
    own(top={"image_sizes": {"faces": 32}}, model="upanet16")
    drawn = {"landscape": {"methods": ["sgd"]}}
    with pytest.raises(PerturbError, match="has 1 epoch and keeps the weights of 2 moments"):
        own(epochs=1, **drawn)
    with pytest.raises(PerturbError, match="checkpoint_every to 4 or less"):
        own(epochs=5, landscape={"methods": ["sgd"], "checkpoint_every": 5})
    with pytest.raises(PerturbError, match="checkpoint_every to 1, or leave"):
        own(epochs=2, landscape={"methods": ["sgd"], "checkpoint_every": 2})
    own(epochs=5, landscape={"methods": ["sgd"], "checkpoint_every": 4})
