# Landscapes of a run's last weights: planes in random directions, its trajectory, its curvature.
LANDSCAPE = "<results>/landscapes/{dataset}/{model}"
LANDSCAPE_OF_RUN = LANDSCAPE + "/{method}/seed{seed}"
# Rows of an unfinished plane: outside the outputs, which Snakemake deletes before each attempt.
LANDSCAPE_STATE = (
    f"{RESULTS}/state/landscapes/{{dataset}}/{{model}}/{{method}}/seed{{seed}}"
)
RUN = "<results>/runs/{dataset}/{model}/{method}/seed{seed}"


def landscape_settings(*names):
    """Return a function of the wildcards: those settings that one kind of job depends on."""
    return lambda wildcards: say(CONFIG.landscape_settings, wildcards.dataset).to_json(
        *names
    )


def code_of_landscape(script):
    """Return a function of the wildcards: a hash of the modules that the script and model use."""
    used = code_of(script)
    return lambda wildcards: used + code.digest(
        code.of_model(known_model(wildcards.model))
    )


def landscape_files(dataset, name, folder="landscapes"):
    """Return the files `name` of every run that a data set's results section draws."""
    drawn = say(CONFIG.plan, "rts", known_dataset(dataset))["landscape"]
    model = say(CONFIG.comparison, "rts", dataset)["model"]
    return [
        f"{RESULTS}/{folder}/{dataset}/{model}/{method}/seed{seed}/{name}"
        for method in drawn["methods"]
        for seed in drawn["seeds"]
    ]


def landscapes_of(dataset):
    """Return, by kind, all files that the landscapes of a data set are told from."""
    drawn = say(CONFIG.plan, "rts", known_dataset(dataset))["landscape"]
    if not drawn:
        stop(
            f"data set '{dataset}' has no landscapes: list methods under landscape.methods "
            "of the data set in config/studies/rts.yaml."
        )
    return dict(
        planes=[
            path
            for seed in drawn["direction_seeds"]
            for path in landscape_files(dataset, f"plane{seed}.npz")
        ],
        trajectories=landscape_files(dataset, "trajectory.npz"),
        curvatures=landscape_files(dataset, "curvature.json"),
    )


def records_of_landscapes(dataset):
    """Return the records of the runs that the landscapes of a data set are of."""
    return landscape_files(dataset, "record.json", folder="runs")


def pages_of(dataset):
    """Return the interactive pages of a data set: of each run drawn, in the first directions."""
    drawn = CONFIG.landscape(dataset)
    if not drawn:
        return []
    return landscape_files(dataset, f"plane{drawn['direction_seeds'][0]}.html")


rule draw_directions:
    input:
        manifest="<results>/data/{dataset}.manifest.json",
    output:
        LANDSCAPE + "/directions/seed{direction_seed}.safetensors",
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
        record=RUN + "/record.json",
        weights=RUN + "/last.safetensors",
        directions=LANDSCAPE + "/directions/seed{direction_seed}.safetensors",
    output:
        LANDSCAPE_OF_RUN + "/plane{direction_seed}.npz",
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
        state=LANDSCAPE_STATE + "/plane{direction_seed}.npz",
        code=code_of_landscape("plane.py"),
    script:
        "../scripts/plane.py"


rule trajectory:
    input:
        images="<results>/data/{dataset}.npz",
        manifest="<results>/data/{dataset}.manifest.json",
        record=RUN + "/record.json",
        weights=RUN + "/last.safetensors",
        initial="<results>/init/{dataset}/{model}/seed{seed}.safetensors",
        checkpoints=RUN + "/checkpoints",
    output:
        LANDSCAPE_OF_RUN + "/trajectory.npz",
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
        state=LANDSCAPE_STATE + "/trajectory.npz",
        code=code_of_landscape("trajectory.py"),
    script:
        "../scripts/trajectory.py"


rule curvature:
    input:
        images="<results>/data/{dataset}.npz",
        manifest="<results>/data/{dataset}.manifest.json",
        record=RUN + "/record.json",
        weights=RUN + "/last.safetensors",
    output:
        LANDSCAPE_OF_RUN + "/curvature.json",
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
        LANDSCAPE_OF_RUN + "/{plane}.npz",
    output:
        page=report(
            LANDSCAPE_OF_RUN + "/{plane}.html",
            category="Landscapes",
            subcategory="{dataset}",
            labels={"method": "{method}", "seed": "{seed}", "plane": "{plane}"},
        ),
        vti=LANDSCAPE_OF_RUN + "/{plane}.vti",
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
