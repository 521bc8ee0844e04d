# What every rule asks of the configuration.
import json
import os
import sys
from pathlib import Path

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT / "src"))
# Jobs import this checkout's library, in whatever environment they run. A shell command finds the
# checkout and its interpreter by variables: as parameters they would rerun what was moved.
os.environ.update(
    PYTHONPATH=str(ROOT / "src"),
    PERTURB_ROOT=str(ROOT),
    PERTURB_PYTHON=(
        "python" if workflow.deployment_settings.deployment_method else sys.executable
    ),
)

from perturb import code, names
from perturb.audit.folder import paths_of
from perturb.config import Config
from perturb.errors import PerturbError, did_you_mean
from perturb.data import DATASETS
from perturb.figures import gradients_catalogue
from perturb.figures.catalogue import AUDIT, names_for
from perturb.gradients.settings import study as gradients_study
from perturb.jobs import forkserver
from perturb.jobs.packs import Packs, clear_finished_states
from perturb.models import registry as model_registry

TABLE_KINDS = ["csv", "md", "tex", "provenance.csv"]


def stop(message):
    """Stop with one message. Snakemake would print its own call stack below an exception."""
    sys.exit(f"perturb: {message}")


def say(question, *arguments):
    """Return what the library answers; a user's mistake stops the workflow with its message."""
    try:
        return question(*arguments)
    except PerturbError as error:
        stop(error)


def writable(folder):
    """Return `folder`, or stop where nothing can be written below it. Creates nothing."""
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        stop(
            f"cannot write to {folder}: {existing} is no folder that you may write to."
        )
    return folder


CONFIG = say(Config, config, ROOT / "config" / "schema.yaml")
if CONFIG.values.get("fork_jobs"):
    forkserver.serve_jobs_of_this_process()
RESULTS = writable(Path(workflow.pathvars.get("results")))


wildcard_constraints:
    dataset="(?!audit_)[^/]+",
    model="[^/]+",
    method="[^/]+",
    seed=r"\d+",


def known_dataset(name):
    """Return `name`, or stop where no data set is called so."""
    known = [*DATASETS, *CONFIG.values.get("image_folders", {})]
    if name not in known:
        stop(f"unknown data set '{name}'.{did_you_mean(name, known)}")
    return name


def known_model(name):
    """Return `name`, or stop where no model is called so."""
    if name not in model_registry.names():
        stop(f"unknown model '{name}'.{did_you_mean(name, model_registry.names())}")
    return name


def specification(wildcards):
    """Return the resolved specification of a run, as text: a change of it reruns the run."""
    run = (wildcards.dataset, wildcards.model, wildcards.method, wildcards.seed)
    return say(CONFIG.run, *run).to_json()


PACKS = Packs(RESULTS, CONFIG.values.get("pack_seconds", 0))


def pack_of(wildcards):
    """Return the group of a run that is short enough to share a job, by what others took."""
    run = (wildcards.dataset, wildcards.model, wildcards.method)
    return say(PACKS.group, *run)


def code_of(script, *roots):
    """Return a hash of the library's modules that a script uses: a change of them reruns it.

    `roots` are further modules, or files of the library.
    """
    return code.digest(code.of(ROOT / "workflow" / "scripts" / script, *roots))


CODE_OF_RUNS = {}


def code_of_run(wildcards):
    """Return a hash of the modules that a run uses: of the update rules, its own only."""
    method = say(names.parse, wildcards.method)
    key = wildcards.model, method.rule  # hundreds of runs have the same
    if key not in CODE_OF_RUNS:
        modules = say(code.of_training, wildcards.model, wildcards.method)
        CODE_OF_RUNS[key] = code.digest(modules)
    return CODE_OF_RUNS[key]


def code_of_initial(wildcards):
    """Return a hash of the modules that initial weights come from: of the models, theirs only."""
    own = code.of_model(known_model(wildcards.model))
    return code.digest(own) + code_of("initialise.py")


def code_of_data(wildcards):
    """Return a hash of the modules that prepare a data set: of the readers, its own only."""
    known = DATASETS.get(known_dataset(wildcards.dataset))
    reader = type(known).__module__ if known else "perturb.data.image_folder"
    return code_of("prepare_data.py", reader)


def plan_of(dataset):
    """Return what a data set's table lists, as text."""
    return json.dumps(say(CONFIG.plan, "rts", known_dataset(dataset)), sort_keys=True)


def records_of(dataset):
    """Return the records that a data set's table is made from."""
    runs = say(CONFIG.runs, "rts", known_dataset(dataset))
    paths = [
        f"{RESULTS}/runs/{d}/{m}/{method}/seed{s}/record.json"
        for d, m, method, s in runs
    ]
    if CONFIG.values.get("partial_results"):
        return [path for path in paths if Path(path).exists()]
    return paths


def tables_of(dataset):
    """Return the names of a data set's tables: its own, and that of its landscapes."""
    return [dataset] + ([f"landscape_{dataset}"] if CONFIG.landscape(dataset) else [])


def plans_of_all():
    """Return the plans of the data sets whose results section is made, as text."""
    plans = [json.loads(plan_of(dataset)) for dataset in CONFIG.datasets]
    return json.dumps(plans, sort_keys=True)


def ranking_files(*kinds):
    """Return the files of the ranking over data sets; none where there is one data set only."""
    if len(CONFIG.datasets) < 2:
        return []
    folders = {"pdf": "figures/rts/", "png": "figures/rts/"}
    return [
        f"{RESULTS}/{folders.get(kind, 'tables/rts_')}ranking.{kind}" for kind in kinds
    ]


def tables_to_rank():
    """Return the tables that the ranking is made from, or stop where there is one only."""
    if len(CONFIG.datasets) < 2:
        stop("a ranking needs two data sets or more under `datasets` in the config.")
    return [f"{RESULTS}/tables/{dataset}.csv" for dataset in CONFIG.datasets]


def figures_of(dataset, kinds=("pdf", "png")):
    """Return the figures of a data set: all but those of sections or methods that it lacks."""
    names = names_for(say(CONFIG.plan, "rts", dataset))
    return [
        f"{RESULTS}/figures/{dataset}/{name}.{kind}" for name in names for kind in kinds
    ]


def studies_made():
    """Return what each data set's results section is made of, as text: asked for, or there."""
    studies = []
    for dataset in CONFIG.values["rts"]["datasets"]:
        made = (RESULTS / "tables" / f"{dataset}.csv", RESULTS / "figures" / dataset)
        if dataset in CONFIG.datasets or any(path.exists() for path in made):
            drawn = CONFIG.landscape(dataset)
            records = records_of_landscapes(dataset) if drawn else []
            studies.append(
                dict(
                    plan=json.loads(plan_of(dataset)),
                    asked=dataset in CONFIG.datasets,
                    records=records_of(dataset),
                    figures=figures_of(dataset),
                    pages=pages_of(dataset),
                    landscapes=(
                        landscapes_of(dataset) | {"records": records} if drawn else {}
                    ),
                    flat_margin=CONFIG.landscape_settings(dataset).flat_margin,
                )
            )
    return json.dumps(studies)


def files_of_audit(name):
    """Return the files that an audit reads; broken links, which it reports, are no inputs."""
    found = say(paths_of, say(CONFIG.audit, name).folder)
    return [str(path) for path in found if path.exists()]


def landscape_settings(*names):
    """Return a function of the wildcards: those settings that one kind of job depends on."""
    return lambda wildcards: say(CONFIG.landscape_settings, wildcards.dataset).to_json(
        *names
    )


def code_of_landscape(script):
    """Return a function of the wildcards: a hash of the modules that the script and model use."""
    used = code_of(script)
    return lambda wildcards: used + code.digest(
        code.of_model(known_model(wildcards.model))
    )


def landscape_files(dataset, name, folder="landscapes"):
    """Return the files `name` of every run that a data set's results section draws."""
    drawn = say(CONFIG.plan, "rts", known_dataset(dataset))["landscape"]
    model = say(CONFIG.comparison, "rts", dataset)["model"]
    return [
        f"{RESULTS}/{folder}/{dataset}/{model}/{method}/seed{seed}/{name}"
        for method in drawn["methods"]
        for seed in drawn["seeds"]
    ]


def landscapes_of(dataset):
    """Return, by kind, all files that the landscapes of a data set are told from."""
    drawn = say(CONFIG.plan, "rts", known_dataset(dataset))["landscape"]
    if not drawn:
        stop(
            f"data set '{dataset}' has no landscapes: list methods under landscape.methods "
            "of the data set in config/studies/rts.yaml."
        )
    return dict(
        planes=[
            path
            for seed in drawn["direction_seeds"]
            for path in landscape_files(dataset, f"plane{seed}.npz")
        ],
        trajectories=landscape_files(dataset, "trajectory.npz"),
        curvatures=landscape_files(dataset, "curvature.json"),
    )


def records_of_landscapes(dataset):
    """Return the records of the runs that the landscapes of a data set are of."""
    return landscape_files(dataset, "record.json", folder="runs")


def pages_of(dataset):
    """Return the interactive pages of a data set: of each run drawn, in the first directions."""
    drawn = CONFIG.landscape(dataset)
    if not drawn:
        return []
    return landscape_files(dataset, f"plane{drawn['direction_seeds'][0]}.html")


def toys_of(study, name):
    """Return the file `name` of every toy that a study of gradients compares."""
    asked = say(gradients_study, CONFIG.values, study)
    return [
        f"{RESULTS}/gradients/{study}/{toy.slug}/seed{seed}/{name}"
        for toy in asked.toys
        for seed in asked.seeds
    ]


def layers_of(study):
    """Return the layers of trained networks that a study of gradients measures."""
    asked = say(gradients_study, CONFIG.values, study).layers
    if asked is None:
        stop(
            f"study '{study}' has no layers: describe them under gradients.{study}.layers."
        )
    return asked


def layer_files(study):
    """Return the frames of the layers that a study of gradients measures."""
    asked = layers_of(study)
    return [
        f"{RESULTS}/gradients/{study}/layers/{known_dataset(asked.dataset)}/"
        f"{known_model(model)}/{asked.method}/seed{asked.seed}/layers.csv"
        for model in asked.models
    ]


def gradients_results(study):
    """Return what a study of gradients adds to the results section, by kind."""
    layers = say(gradients_study, CONFIG.values, study).layers is not None
    figures = list(gradients_catalogue.TOY) + (["layers"] if layers else [])
    tables = [
        ".csv",
        ".md",
        ".tex",
        ".provenance.csv",
        "_claims.csv",
        "_stochastic.csv",
    ]
    return dict(
        tables=[
            f"{RESULTS}/tables/{study}{ending}"
            for ending in tables + (["_layers.csv"] if layers else [])
        ],
        figures=[
            f"{RESULTS}/figures/{study}/{name}.{kind}"
            for name in figures
            for kind in ("pdf", "png")
        ],
    )


def gradients_made():
    """Return what each study of gradients is made of, as text: asked for, or there."""
    found = []
    for name in CONFIG.values.get("gradients", {}):
        study = say(gradients_study, CONFIG.values, name)
        made = (RESULTS / "tables" / f"{name}.csv", RESULTS / "figures" / name)
        if name in CONFIG.values.get("studies", []) or any(p.exists() for p in made):
            found.append(
                dict(
                    words=json.loads(study.words()),
                    asked=name in CONFIG.values.get("studies", []),
                    records=toys_of(name, "record.json"),
                    layers=layer_files(name) if study.layers else [],
                    stochastic=study.stochastic.to_json(),
                    **gradients_results(name),
                )
            )
    return json.dumps(found)
