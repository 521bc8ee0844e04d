rule table:
    input:
        records=lambda wildcards: records_of(wildcards.dataset),
    output:
        csv=report(
            "<results>/tables/{dataset}.csv",
            category="Tables",
            labels={"data set": "{dataset}"},
        ),
        md="<results>/tables/{dataset}.md",
        tex="<results>/tables/{dataset}.tex",
        provenance="<results>/tables/{dataset}.provenance.csv",
    log:
        "<logs>/tables/{dataset}.log",
    benchmark:
        "<benchmarks>/tables/{dataset}.tsv"
    wildcard_constraints:
        dataset=r"(?!landscape_|gradients)[^/]+(?<!\.provenance)(?<!_ranking)",
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        plan=lambda wildcards: plan_of(wildcards.dataset),
        code=code_of("table.py"),
    script:
        "../scripts/table.py"
