# What is measured on the weights that runs left: ensembles, and paths between networks, by seed.
# Figures again as data and as LaTeX that compiles as it is.
import json


rule measure:
    input:
        data=lambda wildcards: [
            ASK.file(path) for path in json.loads(measurement(wildcards))["data"]
        ],
        weights=lambda wildcards: [
            ASK.file(path) for path in json.loads(measurement(wildcards))["made"]
        ],
    output:
        frame="<results>/minima/{chapter}/{kind}/{seed}/{kind}.csv",
        record="<results>/minima/{chapter}/{kind}/{seed}/record.json",
    log:
        "<logs>/minima/{chapter}/{kind}/{seed}.log",
    benchmark:
        "<benchmarks>/minima/{chapter}/{kind}/{seed}.tsv"
    wildcard_constraints:
        kind="ensembles|paths",
    conda:
        "../../../envs/perturb.yaml"
    resources:
        mem_mb=4000,
        gpu_shares=CONFIG.values.get("gpu_shares", 1),
    params:
        settings=measurement,
        job=lambda wildcards: ASK.module(wildcards.chapter, "measured") + ":run",
        device=lambda wildcards, resources: CONFIG.values["train"]["device"],
        results=lambda wildcards, resources: str(RESULTS),
        code=lambda wildcards: ASK.code_of(
            "measure.py", ASK.module(wildcards.chapter, "measured")
        ),
    script:
        "../../scripts/measure.py"


rule pgfplots:
    input:
        unpack(lambda wildcards: ASK.inputs(figure_of(wildcards))),
    output:
        csv=update("<results>/minima/{chapter}/figures/{figure}.csv"),
        tex=update("<results>/minima/{chapter}/figures/{figure}.tex"),
    log:
        "<logs>/minima/{chapter}/figures/{figure}.log",
    localrule: True
    conda:
        "../../../envs/perturb.yaml"
    params:
        make=lambda wildcards: ASK.module(wildcards.chapter, "figures") + ":texts",
        settings=lambda wildcards: figure_of(wildcards).settings_json(),
        mark=ASK.mark("minima/{chapter}/{figure}"),
        failures=lambda wildcards: ASK.failures(
            f"minima/{wildcards.chapter}/{wildcards.figure}"
        ),
        code=lambda wildcards: ASK.code_of_part("pgfplots.py", figure_of(wildcards)),
    script:
        "../../scripts/pgfplots.py"
