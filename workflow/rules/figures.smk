rule figure:
    input:
        records=lambda wildcards: records_of(wildcards.dataset),
    output:
        pdf="<results>/figures/{dataset}/{figure}.pdf",
        png=report(
            "<results>/figures/{dataset}/{figure}.png",
            category="Figures",
            subcategory="{dataset}",
            labels={"figure": "{figure}"},
        ),
    log:
        "<logs>/figures/{dataset}/{figure}.log",
    benchmark:
        "<benchmarks>/figures/{dataset}/{figure}.tsv"
    wildcard_constraints:
        dataset="(?!gradients)[^/]+",
        figure="(?!landscape_|ranking)[^/]+",
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        plan=lambda wildcards: plan_of(wildcards.dataset),
        figure="{figure}",
        code=code_of("figure.py"),
    script:
        "../scripts/figure.py"
