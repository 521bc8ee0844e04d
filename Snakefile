# perturb: rerun training-dynamics studies and regenerate their whole results section.
# The first target is the results section of every chapter in config/config.yaml.
from pathlib import Path
from snakemake.utils import min_version

min_version("9.14")


pathvars:
    logs="<results>/logs",
    benchmarks="<results>/benchmarks",


for path in sorted(Path(workflow.basedir, "config", "studies").glob("*.yaml")):

    configfile: path


configfile: "config/config.yaml"


include: "workflow/rules/common.smk"


rule all:
    default_target: True
    input:
        "<results>/report.html",
        "<results>/section.tex",
        **SECTION,


include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/landscape.smk"
include: "workflow/rules/parts.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/audit.smk"
include: "workflow/rules/verify.smk"
include: "workflow/rules/plan.smk"


# Jobs that one study has and no other.
for path in sorted(
    Path(workflow.basedir, "workflow", "rules", "studies").glob("*.smk")
):

    include: path


# Finished results that are about to be deleted and made again.
STANDING = []


# PyTorch is imported while the data are prepared.
onstart:
    STANDING.extend(finished.standing(workflow.dag.needrun_jobs()))
    finished.say_code_changes(STANDING, STORE, os.environ[store.COMMIT_VARIABLE])
    os.environ[code.PLANNED_VARIABLE] = code.planned()
    if (
        CONFIG.values.get("fork_jobs")
        and workflow.executor_plugin.common_settings.local_exec
    ):
        forkserver.start()


onsuccess:
    clear_finished_states(RESULTS)


onerror:
    finished.put_back_outputs(STANDING, STORE, workflow.persistence.started)
    clear_finished_states(RESULTS)
