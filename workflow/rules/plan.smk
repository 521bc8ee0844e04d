# What a target costs, and which seeds a budget buys: a target of its own, `snakemake plan`.
# Its files under <results>/plan follow from timings, so no rule's output waits for them.
rule plan:
    log:
        "<logs>/plan.log",
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        results=str(RESULTS),
        benchmarks=workflow.pathvars.apply("<benchmarks>"),
        # Functions: the name of a file or folder may hold braces.
        root=lambda wildcards: str(ROOT),
        configfiles=lambda wildcards: [
            os.path.relpath(path) for path in workflow.overwrite_configfiles
        ],
    script:
        "../scripts/plan.py"
