# perturb: rerun training-dynamics studies and regenerate their whole results section.
# The first target is the results section of every data set in config/config.yaml.
from snakemake.utils import min_version

min_version("9.14")


pathvars:
    logs="<results>/logs",
    benchmarks="<results>/benchmarks",


configfile: "config/studies/rts.yaml"
configfile: "config/studies/gradients.yaml"
configfile: "config/config.yaml"


include: "workflow/rules/common.smk"


rule all:
    default_target: True
    input:
        "<results>/report.html",
        "<results>/section.tex",
        [
            f"<results>/tables/{name}.{kind}"
            for dataset in CONFIG.datasets
            for name in tables_of(dataset)
            for kind in TABLE_KINDS
        ],
        [figure for dataset in CONFIG.datasets for figure in figures_of(dataset)],
        [
            path
            for study in CONFIG.values.get("studies", [])
            for paths in gradients_results(study).values()
            for path in paths
        ],
        ranking_files("csv", "md", "tex", "pdf", "png"),


include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/landscape.smk"
include: "workflow/rules/gradients.smk"
include: "workflow/rules/analysis.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/ranking.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/audit.smk"
include: "workflow/rules/verify.smk"
include: "workflow/rules/plan.smk"


# PyTorch is imported while the data are prepared.
onstart:
    if (
        CONFIG.values.get("fork_jobs")
        and workflow.executor_plugin.common_settings.local_exec
    ):
        forkserver.start()


onsuccess:
    clear_finished_states(RESULTS)


onerror:
    clear_finished_states(RESULTS)
