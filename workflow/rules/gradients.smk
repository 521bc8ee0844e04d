# Study gradients: toys of sign units, layers of a trained XNOR-ResNet, stochastic units.
GRADIENTS = list(CONFIG.values.get("gradients", {}))
TOY_FRAMES = ["curves.csv", "windows.csv", "batches.csv", "pooled.csv"]
TOY_FIGURES = "|".join(gradients_catalogue.TOY)


wildcard_constraints:
    study="|".join(GRADIENTS) or "none",
    toy="toy_[^/]+",


rule gradients_toy:
    output:
        record="<results>/gradients/{study}/{toy}/seed{seed}/record.json",
        curves="<results>/gradients/{study}/{toy}/seed{seed}/curves.csv",
        windows="<results>/gradients/{study}/{toy}/seed{seed}/windows.csv",
        batches="<results>/gradients/{study}/{toy}/seed{seed}/batches.csv",
        pooled="<results>/gradients/{study}/{toy}/seed{seed}/pooled.csv",
        timing="<results>/gradients/{study}/{toy}/seed{seed}/timing.csv",
    log:
        "<logs>/gradients/{study}/{toy}/seed{seed}.log",
    benchmark:
        "<benchmarks>/gradients/{study}/{toy}/seed{seed}.tsv"
    conda:
        "../../envs/perturb.yaml"
    resources:
        mem_mb=2000,
        gpu_shares=CONFIG.values.get("gpu_shares", 1),
    params:
        settings=lambda wildcards: say(
            say(gradients_study, CONFIG.values, wildcards.study).toy, wildcards.toy
        ).to_json(),
        state=f"{RESULTS}/state/gradients/{{study}}/{{toy}}/seed{{seed}}",
        code=code_of("gradients_toy.py"),
    script:
        "../scripts/gradients_toy.py"


rule gradients_layers:
    input:
        images="<results>/data/{dataset}.npz",
        manifest="<results>/data/{dataset}.manifest.json",
        record="<results>/runs/{dataset}/{model}/{method}/seed{seed}/record.json",
        weights="<results>/runs/{dataset}/{model}/{method}/seed{seed}/last.safetensors",
    output:
        record="<results>/gradients/{study}/layers/{dataset}/{model}/{method}/seed{seed}/record.json",
        layers="<results>/gradients/{study}/layers/{dataset}/{model}/{method}/seed{seed}/layers.csv",
    log:
        "<logs>/gradients/{study}/layers/{dataset}/{model}/{method}/seed{seed}.log",
    benchmark:
        "<benchmarks>/gradients/{study}/layers/{dataset}/{model}/{method}/seed{seed}.tsv"
    conda:
        "../../envs/perturb.yaml"
    resources:
        mem_mb=4000,
        gpu_shares=CONFIG.values.get("gpu_shares", 1),
    params:
        specification=specification,
        settings=lambda wildcards: layers_of(wildcards.study).to_json(),
        state=f"{RESULTS}/state/gradients/{{study}}/layers/{{dataset}}/{{model}}/{{method}}/seed{{seed}}",
        code=code_of("gradients_layers.py"),
    script:
        "../scripts/gradients_layers.py"


rule gradients_stochastic:
    output:
        report(
            "<results>/tables/{study}_stochastic.csv",
            category="Tables",
            labels={"data set": "{study}, stochastic units"},
        ),
    log:
        "<logs>/tables/{study}_stochastic.log",
    benchmark:
        "<benchmarks>/tables/{study}_stochastic.tsv"
    conda:
        "../../envs/perturb.yaml"
    params:
        settings=lambda wildcards: say(
            gradients_study, CONFIG.values, wildcards.study
        ).stochastic.to_json(),
        code=code_of("gradients_stochastic.py"),
    script:
        "../scripts/gradients_stochastic.py"


rule gradients_table:
    input:
        records=lambda wildcards: toys_of(wildcards.study, "record.json"),
        frames=lambda wildcards: [
            path for name in TOY_FRAMES for path in toys_of(wildcards.study, name)
        ],
    output:
        csv=report(
            "<results>/tables/{study}.csv",
            category="Tables",
            labels={"data set": "{study}"},
        ),
        md="<results>/tables/{study}.md",
        tex="<results>/tables/{study}.tex",
        claims="<results>/tables/{study}_claims.csv",
        provenance="<results>/tables/{study}.provenance.csv",
    log:
        "<logs>/tables/{study}.log",
    benchmark:
        "<benchmarks>/tables/{study}.tsv"
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        study=lambda wildcards: say(
            gradients_study, CONFIG.values, wildcards.study
        ).words(),
        code=code_of("gradients_table.py"),
    script:
        "../scripts/gradients_table.py"


rule gradients_layers_table:
    input:
        layers=lambda wildcards: layer_files(wildcards.study),
    output:
        csv=report(
            "<results>/tables/{study}_layers.csv",
            category="Tables",
            labels={"data set": "{study}, layers"},
        ),
    log:
        "<logs>/tables/{study}_layers.log",
    benchmark:
        "<benchmarks>/tables/{study}_layers.tsv"
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        code=code_of("gradients_layers_table.py"),
    script:
        "../scripts/gradients_layers_table.py"


rule gradients_figure:
    input:
        records=lambda wildcards: toys_of(wildcards.study, "record.json"),
        frames=lambda wildcards: [
            path for name in TOY_FRAMES for path in toys_of(wildcards.study, name)
        ],
    output:
        pdf="<results>/figures/{study}/{figure}.pdf",
        png=report(
            "<results>/figures/{study}/{figure}.png",
            category="Figures",
            subcategory="{study}",
            labels={"figure": "{figure}"},
        ),
    log:
        "<logs>/figures/{study}/{figure}.log",
    benchmark:
        "<benchmarks>/figures/{study}/{figure}.tsv"
    wildcard_constraints:
        figure=TOY_FIGURES,
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        study=lambda wildcards: say(
            gradients_study, CONFIG.values, wildcards.study
        ).words(),
        figure="{figure}",
        code=code_of("gradients_figure.py"),
    script:
        "../scripts/gradients_figure.py"


rule gradients_layers_figure:
    input:
        "<results>/tables/{study}_layers.csv",
    output:
        pdf="<results>/figures/{study}/layers.pdf",
        png=report(
            "<results>/figures/{study}/layers.png",
            category="Figures",
            subcategory="{study}",
            labels={"figure": "layers"},
        ),
    log:
        "<logs>/figures/{study}/layers.log",
    benchmark:
        "<benchmarks>/figures/{study}/layers.tsv"
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        study=lambda wildcards: say(
            gradients_study, CONFIG.values, wildcards.study
        ).words(),
        code=code_of("gradients_layers_figure.py"),
    script:
        "../scripts/gradients_layers_figure.py"


# Seconds differ from run to run, so their figure stands with the benchmarks.
rule gradients_seconds:
    input:
        records=lambda wildcards: toys_of(wildcards.study, "record.json"),
        timings=lambda wildcards: toys_of(wildcards.study, "timing.csv"),
        frames=lambda wildcards: [
            path for name in TOY_FRAMES for path in toys_of(wildcards.study, name)
        ],
    output:
        pdf="<benchmarks>/gradients/{study}/seconds.pdf",
        png="<benchmarks>/gradients/{study}/seconds.png",
    log:
        "<logs>/figures/{study}/seconds.log",
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        study=lambda wildcards: say(
            gradients_study, CONFIG.values, wildcards.study
        ).words(),
        code=code_of("gradients_seconds.py"),
    script:
        "../scripts/gradients_seconds.py"
