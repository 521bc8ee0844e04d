# Landscapes of a run's last weights: planes in random directions, its trajectory, its curvature.
# State: rows of an unfinished plane, outside the outputs, which Snakemake deletes before each try.
rule draw_directions:
    input:
        manifest="<results>/data/{dataset}.manifest.json",
    output:
        "<results>/landscapes/{dataset}/{model}/directions/seed{direction_seed}.safetensors",
    log:
        "<logs>/landscapes/{dataset}/{model}/directions{direction_seed}.log",
    benchmark:
        "<benchmarks>/landscapes/{dataset}/{model}/directions{direction_seed}.tsv"
    wildcard_constraints:
        direction_seed=r"\d+",
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        model=lambda wildcards: known_model(wildcards.model),
        code=code_of_landscape("draw_directions.py"),
    script:
        "../scripts/draw_directions.py"


rule plane:
    input:
        images="<results>/data/{dataset}.npz",
        manifest="<results>/data/{dataset}.manifest.json",
        record="<results>/runs/{dataset}/{model}/{method}/seed{seed}/record.json",
        weights="<results>/runs/{dataset}/{model}/{method}/seed{seed}/last.safetensors",
        directions="<results>/landscapes/{dataset}/{model}/directions/seed{direction_seed}.safetensors",
    output:
        "<results>/landscapes/{dataset}/{model}/{method}/seed{seed}/plane{direction_seed}.npz",
    log:
        "<logs>/landscapes/{dataset}/{model}/{method}/seed{seed}/plane{direction_seed}.log",
    benchmark:
        "<benchmarks>/landscapes/{dataset}/{model}/{method}/seed{seed}/plane{direction_seed}.tsv"
    wildcard_constraints:
        direction_seed=r"\d+",
    conda:
        "../../envs/perturb.yaml"
    resources:
        mem_mb=2000,
        gpu_shares=CONFIG.values.get("gpu_shares", 1),
    params:
        specification=specification,
        settings=landscape_settings(
            "normalisation",
            "ignore",
            "span",
            "points",
            "images",
            "batch_norm",
            "precision",
        ),
        state=f"{RESULTS}/state/landscapes/{{dataset}}/{{model}}/{{method}}/seed{{seed}}/plane{{direction_seed}}.npz",
        code=code_of_landscape("plane.py"),
    script:
        "../scripts/plane.py"


rule trajectory:
    input:
        images="<results>/data/{dataset}.npz",
        manifest="<results>/data/{dataset}.manifest.json",
        record="<results>/runs/{dataset}/{model}/{method}/seed{seed}/record.json",
        weights="<results>/runs/{dataset}/{model}/{method}/seed{seed}/last.safetensors",
        initial="<results>/init/{dataset}/{model}/seed{seed}.safetensors",
        checkpoints="<results>/runs/{dataset}/{model}/{method}/seed{seed}/checkpoints",
    output:
        "<results>/landscapes/{dataset}/{model}/{method}/seed{seed}/trajectory.npz",
    log:
        "<logs>/landscapes/{dataset}/{model}/{method}/seed{seed}/trajectory.log",
    benchmark:
        "<benchmarks>/landscapes/{dataset}/{model}/{method}/seed{seed}/trajectory.tsv"
    conda:
        "../../envs/perturb.yaml"
    resources:
        mem_mb=4000,
        gpu_shares=CONFIG.values.get("gpu_shares", 1),
    params:
        specification=specification,
        settings=landscape_settings("ignore", "points", "images", "precision"),
        state=f"{RESULTS}/state/landscapes/{{dataset}}/{{model}}/{{method}}/seed{{seed}}/trajectory.npz",
        code=code_of_landscape("trajectory.py"),
    script:
        "../scripts/trajectory.py"


rule curvature:
    input:
        images="<results>/data/{dataset}.npz",
        manifest="<results>/data/{dataset}.manifest.json",
        record="<results>/runs/{dataset}/{model}/{method}/seed{seed}/record.json",
        weights="<results>/runs/{dataset}/{model}/{method}/seed{seed}/last.safetensors",
    output:
        "<results>/landscapes/{dataset}/{model}/{method}/seed{seed}/curvature.json",
    log:
        "<logs>/landscapes/{dataset}/{model}/{method}/seed{seed}/curvature.log",
    benchmark:
        "<benchmarks>/landscapes/{dataset}/{model}/{method}/seed{seed}/curvature.tsv"
    conda:
        "../../envs/perturb.yaml"
    resources:
        mem_mb=4000,
        gpu_shares=CONFIG.values.get("gpu_shares", 1),
    params:
        specification=specification,
        settings=landscape_settings(
            "curvature_images", "sharpness_radii", "adaptive_radii", "direction_seeds"
        ),
        code=code_of_landscape("curvature.py"),
    script:
        "../scripts/curvature.py"


rule landscape_page:
    input:
        "<results>/landscapes/{dataset}/{model}/{method}/seed{seed}/{plane}.npz",
    output:
        page=report(
            "<results>/landscapes/{dataset}/{model}/{method}/seed{seed}/{plane}.html",
            category="Landscapes",
            subcategory="{dataset}",
            labels={"method": "{method}", "seed": "{seed}", "plane": "{plane}"},
        ),
        vti="<results>/landscapes/{dataset}/{model}/{method}/seed{seed}/{plane}.vti",
    log:
        "<logs>/landscapes/{dataset}/{model}/{method}/seed{seed}/{plane}_page.log",
    benchmark:
        "<benchmarks>/landscapes/{dataset}/{model}/{method}/seed{seed}/{plane}_page.tsv"
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        code=code_of(
            "landscape_page.py", ROOT / "src/perturb/figures/landscape_page.html.j2"
        ),
    script:
        "../scripts/landscape_page.py"


rule landscape_table:
    input:
        unpack(lambda wildcards: landscapes_of(wildcards.dataset)),
        records=lambda wildcards: records_of_landscapes(wildcards.dataset),
    output:
        csv=report(
            "<results>/tables/landscape_{dataset}.csv",
            category="Tables",
            labels={"data set": "{dataset}, landscapes"},
        ),
        md="<results>/tables/landscape_{dataset}.md",
        tex="<results>/tables/landscape_{dataset}.tex",
        provenance="<results>/tables/landscape_{dataset}.provenance.csv",
    log:
        "<logs>/tables/landscape_{dataset}.log",
    benchmark:
        "<benchmarks>/tables/landscape_{dataset}.tsv"
    wildcard_constraints:
        dataset=r"[^/]+(?<!\.provenance)",
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        flat_margin=lambda wildcards: CONFIG.landscape_settings(
            wildcards.dataset
        ).flat_margin,
        code=code_of("landscape_table.py"),
    script:
        "../scripts/landscape_table.py"


rule landscape_figure:
    input:
        unpack(lambda wildcards: landscapes_of(wildcards.dataset)),
    output:
        pdf="<results>/figures/{dataset}/landscape_{picture}.pdf",
        png=report(
            "<results>/figures/{dataset}/landscape_{picture}.png",
            category="Figures",
            subcategory="{dataset}",
            labels={"figure": "landscape_{picture}"},
        ),
    log:
        "<logs>/figures/{dataset}/landscape_{picture}.log",
    benchmark:
        "<benchmarks>/figures/{dataset}/landscape_{picture}.tsv"
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        plan=lambda wildcards: plan_of(wildcards.dataset),
        figure="landscape_{picture}",
        code=code_of("landscape_figure.py"),
    script:
        "../scripts/landscape_figure.py"
