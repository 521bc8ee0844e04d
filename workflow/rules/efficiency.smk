# What a registered model costs to run: `snakemake results/tables/efficiency_<model>.csv`.
# Measured once; its times are of the machine and of the moment, the table follows from them.
rule efficiency:
    output:
        "<results>/efficiency/{model}.json",
    log:
        "<logs>/efficiency/{model}.log",
    benchmark:
        "<benchmarks>/efficiency/{model}.tsv"
    conda:
        "../../envs/perturb.yaml"
    # Alone on the machine: the others' work would be in its times.
    threads: workflow.cores or 1
    resources:
        gpu_shares=CONFIG.values.get("gpu_shares", 1),
    params:
        settings=lambda wildcards: say(ASK.efficiency, wildcards.model),
        code=lambda wildcards: say(
            ASK.code_of_efficiency, "efficiency.py", wildcards.model
        ),
    script:
        "../scripts/efficiency.py"
