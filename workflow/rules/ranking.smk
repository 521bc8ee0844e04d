# What compares methods over data sets: made where the configuration lists two or more.
rule ranking:
    input:
        tables=lambda wildcards: tables_to_rank(),
    output:
        csv=report(
            "<results>/tables/rts_ranking.csv",
            category="Tables",
            labels={"data set": "all, ranking"},
        ),
        md="<results>/tables/rts_ranking.md",
        tex="<results>/tables/rts_ranking.tex",
        pdf="<results>/figures/rts/ranking.pdf",
        png=report(
            "<results>/figures/rts/ranking.png",
            category="Figures",
            subcategory="all data sets",
            labels={"figure": "ranking"},
        ),
    log:
        "<logs>/ranking.log",
    benchmark:
        "<benchmarks>/ranking.tsv"
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        plans=lambda wildcards: plans_of_all(),
        code=code_of("ranking.py"),
    script:
        "../scripts/ranking.py"
