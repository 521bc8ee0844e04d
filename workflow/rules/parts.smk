# The parts of chapters, of any study: tables and figures.
# `update` keeps the last good files where a job fails; `failures` makes them again (docs/resume-and-status.md).
rule table:
    input:
        unpack(lambda wildcards: ASK.inputs(table_of(wildcards))),
    output:
        csv=report(
            update("<results>/tables/{table}.csv"),
            category="Tables",
            labels={"table": "{table}"},
        ),
        md=update("<results>/tables/{table}.md"),
        tex=update("<results>/tables/{table}.tex"),
        html=update("<results>/tables/{table}.html"),
        provenance=update("<results>/tables/{table}.provenance.csv"),
        sha256=update("<results>/tables/{table}.sha256"),
    log:
        "<logs>/tables/{table}.log",
    benchmark:
        "<benchmarks>/tables/{table}.tsv"
    wildcard_constraints:
        table=r"[^/]+(?<!\.provenance)",
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        make=lambda wildcards: table_of(wildcards).make,
        settings=lambda wildcards: table_of(wildcards).settings_json(),
        mark=ASK.mark("tables/{table}"),
        failures=lambda wildcards: ASK.failures(f"tables/{wildcards.table}"),
        code=lambda wildcards: ASK.code_of_part("table.py", table_of(wildcards)),
    script:
        "../scripts/table.py"


rule figure:
    input:
        unpack(lambda wildcards: ASK.inputs(figure_of(wildcards))),
    output:
        pdf=update("<results>/figures/{chapter}/{figure}.pdf"),
        png=report(
            update("<results>/figures/{chapter}/{figure}.png"),
            category="Figures",
            subcategory="{chapter}",
            labels={"figure": "{figure}"},
        ),
    log:
        "<logs>/figures/{chapter}/{figure}.log",
    benchmark:
        "<benchmarks>/figures/{chapter}/{figure}.tsv"
    wildcard_constraints:
        chapter="(?!audit_)[^/]+",
        figure="[^/]+",
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        make=lambda wildcards: figure_of(wildcards).make,
        settings=lambda wildcards: figure_of(wildcards).settings_json(),
        mark=ASK.mark("figures/{chapter}/{figure}"),
        failures=lambda wildcards: ASK.failures(
            f"figures/{wildcards.chapter}/{wildcards.figure}"
        ),
        code=lambda wildcards: ASK.code_of_part("figure.py", figure_of(wildcards)),
    script:
        "../scripts/figure.py"
