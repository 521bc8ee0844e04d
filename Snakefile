# perturb: rerun training-dynamics studies and regenerate their whole results section.
# The first target is the results section of every chapter in config/config.yaml.
import gc
import sys
from pathlib import Path
from snakemake.utils import min_version

min_version("9.14")
# A plan of thousands of jobs is kept to the end: to look through it for garbage while it grows
# takes a seventh of the time that planning does.
gc.disable()
sys.path.insert(0, str(Path(workflow.basedir, "src")))

from perturb.config_files import check_files
from perturb.errors import PerturbError
from perturb.jobs import messages

# Known to their end once the rules are read; Snakemake asks for none before.
TARGETS = []
messages.mend(lambda: TARGETS)


pathvars:
    logs="<results>/logs",
    benchmarks="<results>/benchmarks",


STUDY_FILES = sorted(Path(workflow.basedir, "config", "studies").glob("*.yaml"))
# Before Snakemake reads them, whose message names no line, and lets the last of two keys win.
try:
    check_files([*STUDY_FILES, "config/config.yaml", *workflow.overwrite_configfiles])
except PerturbError as error:
    sys.exit(f"perturb: {error}")
for path in STUDY_FILES:

    configfile: path


configfile: "config/config.yaml"


include: "workflow/rules/common.smk"


TARGETS += [f"{RESULTS}/report.html", f"{RESULTS}/section.tex"]
TARGETS += [path for paths in SECTION.values() for path in paths]


rule all:
    default_target: True
    input:
        "<results>/report.html",
        "<results>/section.tex",
        **SECTION,
        made_from=MADE_FROM,


include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/predictions.smk"
include: "workflow/rules/search.smk"
include: "workflow/rules/efficiency.smk"
include: "workflow/rules/landscape.smk"
include: "workflow/rules/parts.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/audit.smk"
include: "workflow/rules/verify.smk"
include: "workflow/rules/artefact.smk"
include: "workflow/rules/plan.smk"


# Jobs that one study has and no other.
for path in sorted(
    Path(workflow.basedir, "workflow", "rules", "studies").glob("*.smk")
):

    include: path


# Finished results that are about to be deleted and made again.
STANDING = []


onstart:
    gc.freeze()
    gc.enable()
    is_local = workflow.executor_plugin.common_settings.local_exec
    if is_local:
        # At most 100 jobs a second are for a cluster; for them each job costs a thread and a round.
        workflow.scheduler.job_rate_limiter = None
    if CONFIG.values.get("fork_jobs") and is_local:
        forkserver.start()  # it imports PyTorch beside what follows
    STANDING.extend(finished.standing(workflow.dag.needrun_jobs()))
    finished.say_code_changes(STANDING, STORE, os.environ[store.COMMIT_VARIABLE])
    finished.forget_what_is_gone(
        workflow.dag.needrun_jobs(), workflow.persistence.cleanup_metadata
    )
    os.environ[code.PLANNED_VARIABLE] = code.planned()
    if is_local:
        from perturb.planning import (
            forecast,
        )  # imports SciPy, which planning alone does without

        say(
            forecast.say,
            CONFIG,
            ROOT / "config" / "schema.yaml",
            RESULTS,
            workflow.pathvars.apply("<benchmarks>"),
            forecast.runs_of(workflow.dag.needrun_jobs(), STORE),
            workflow.cores,
        )


onsuccess:
    clear_finished_states(RESULTS)


onerror:
    finished.put_back_outputs(STANDING, STORE, workflow.persistence.started)
    clear_finished_states(RESULTS)
