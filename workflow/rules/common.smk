# What every rule asks of the configuration. `perturb.workflow` answers, which tests reach.
import inspect
import os
import sys
from pathlib import Path

ROOT = Path(workflow.basedir)
# Jobs import this checkout's library, in whatever environment they run. A shell command finds the
# checkout and its interpreter by variables: as parameters they would rerun what was moved.
os.environ.update(
    PYTHONPATH=str(ROOT / "src"),
    PERTURB_ROOT=str(ROOT),
    PERTURB_PYTHON=(
        "python" if workflow.deployment_settings.deployment_method else sys.executable
    ),
)

from snakemake.common import overwrite_function_params

from perturb import code
from perturb.config import Config
from perturb.errors import PerturbError
from perturb.figures.catalogue import AUDIT
from perturb.jobs import command_line, finished, forkserver, store
from perturb.jobs.packs import clear_finished_states
from perturb.preflight import writable
from perturb.workflow import Workflow


def say(question, *arguments):
    """Return what the library answers; a user's mistake stops the workflow with its message.

    Snakemake would print its own call stack below an exception.
    """
    try:
        return question(*arguments)
    except PerturbError as error:
        sys.exit(f"perturb: {error}")


CONFIG = say(Config, config, ROOT / "config" / "schema.yaml")
if CONFIG.values.get("fork_jobs"):
    forkserver.serve_jobs_of_this_process()
RESULTS = say(writable, Path(workflow.pathvars.get("results")))
# Whether it is a dry run, Snakemake knows when it has read the rules.
ASK = Workflow(CONFIG, RESULTS, ROOT, writes=lambda: not workflow.dryrun)
SECTION = say(ASK.section)
MADE_FROM = say(ASK.made_from)
REMARKS = say(ASK.check)
if workflow.is_main_process:
    for remark in REMARKS:
        print(f"perturb notes: {remark}.", file=sys.stderr)
# What of a command says which configuration it is, for the commands that the report tells. Keys of
# targets of their own change no result.
GIVEN = command_line.configuration(
    [os.path.relpath(path) for path in workflow.overwrite_configfiles],
    workflow.config_settings.config,
)
# Jobs keep what they make in the store, and put back what it has.
os.environ.update(store.environment(ASK.store, RESULTS, ROOT))
STORE = store.Store.of_environment()


wildcard_constraints:
    dataset="(?!audit_)[^/]+",
    model="[^/]+",
    method="[^/]+",
    seed=r"\d+",


def run_of(wildcards):
    """Return the run that a job's wildcards name."""
    w = wildcards
    return say(ASK.run, w.dataset, w.model, w.method, w.seed)


def signed(function):
    """Return the function with its signature, which Snakemake else works out at each call.

    For functions that are called for every run: a twelfth of the time that planning takes.
    """
    overwrite_function_params(function, inspect.signature(function).parameters)
    return function


def of_run(question, *arguments):
    """Return a function of the wildcards that asks something of the run that they name."""
    return signed(lambda wildcards: say(question, run_of(wildcards), *arguments))


# What a run computes, as text, and a hash of the modules that it uses: a change of either makes it
# again. The group of a run that is short enough to share a job, by what others took.
specification = of_run(ASK.specification)
code_of_run = of_run(ASK.code_of_run)
pack_of = of_run(ASK.pack)


# Parameters that take `resources` are not compared by Snakemake: another device, or another
# spelling of a folder, reruns nothing.
@signed
def device(wildcards, resources):
    """Return the device that a run asks for."""
    return say(ASK.device, run_of(wildcards))


@signed
def initial(wildcards, resources):
    """Return the file of the weights that a run begins from."""
    return say(ASK.initial, run_of(wildcards))


def data_root(wildcards, resources):
    """Return the folder in which data sets are looked for."""
    return CONFIG.values["data_root"]


def path_of_weights(wildcards, resources):
    """Return the file that a model's initial weights are from, "" where there is none."""
    return say(ASK.path_of_weights, wildcards.model)


def initial_source(wildcards):
    """Return the files of the run whose weights a model starts from; none where it is no run's."""
    return say(ASK.source, wildcards.model, int(wildcards.seed))


@signed
def possible(wildcards):
    """Return the priority of all jobs; stop where a job of this run cannot work here.

    It is what Snakemake asks of each job that is to run, and of no other, before it touches
    anything. A dry run with nodes is one of a cluster's, whose jobs run elsewhere.
    """
    elsewhere = workflow.dryrun and workflow.resource_settings.nodes
    if workflow.is_main_process and workflow.local_exec and not elsewhere:
        say(ASK.refuse, run_of(wildcards))
    return 0


def code_of_model(script):
    """Return a function of the wildcards: a hash of the modules that the script and model use."""
    return lambda wildcards: say(ASK.code_of_model, script, wildcards.model)


def landscape_settings(kind):
    """Return a function of the wildcards: the settings that one kind of job depends on."""
    return of_run(ASK.landscape_settings, kind)


def measurement(wildcards):
    """Return the settings of a job that measures a kind of thing of a chapter at a seed."""
    w = wildcards
    return say(ASK.chapter_setting, w.chapter, f"{w.kind}_{w.seed}")


def table_of(wildcards):
    """Return the table that a job makes."""
    return say(ASK.table, wildcards.table)[1]


def figure_of(wildcards):
    """Return the figure that a job makes."""
    return say(ASK.figure, wildcards.chapter, wildcards.figure)


def step_before(wildcards):
    """Return the file of the step before, once it is there; none before a first one."""
    w = wildcards
    before = say(ASK.step_before, w.chapter, w.stage, int(w.step))
    if before is None:
        return []
    stage, step = before
    return f"{RESULTS}/search/{w.chapter}/{stage}/step{step}.json"


def needs_of_step(wildcards):
    """Return what the step before has listed: records, files of rungs, predictions."""
    w = wildcards
    known = say(ASK.needs_of_step, w.chapter, w.stage, int(w.step))
    if known is not None:
        return known
    before = checkpoints.search_step.get(
        chapter=w.chapter, stage=w.stage, step=int(w.step) - 1
    )
    return say(ASK.listed_by, before.output[0])
