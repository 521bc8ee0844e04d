# Landscapes of a run's last weights: planes in random directions, its trajectory, its curvature.
# Of a run that trained several networks they are of its first; `plane0_net1.npz` is of its second.
# State: rows of an unfinished plane, outside the outputs, which Snakemake deletes before each try.
OTHER_NETWORK = r"|_net[1-9]\d*"
PAGE_PARTS = [
    ROOT / "src/perturb/figures" / name
    for name in ("landscape_page.html.j2", "landscape_page.js.j2")
]


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
        network=lambda wildcards: say(ASK.network, wildcards.model),
        code=code_of_model("draw_directions.py"),
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
        "<results>/landscapes/{dataset}/{model}/{method}/seed{seed}/plane{direction_seed}{network}.npz",
    log:
        "<logs>/landscapes/{dataset}/{model}/{method}/seed{seed}/plane{direction_seed}{network}.log",
    benchmark:
        "<benchmarks>/landscapes/{dataset}/{model}/{method}/seed{seed}/plane{direction_seed}{network}.tsv"
    wildcard_constraints:
        direction_seed=r"\d+",
        network=OTHER_NETWORK,
    priority: possible
    conda:
        "../../envs/perturb.yaml"
    resources:
        mem_mb=2000,
        gpu_shares=CONFIG.values.get("gpu_shares", 1),
    params:
        specification=specification,
        device=device,
        settings=landscape_settings("plane"),
        state=f"{RESULTS}/state/landscapes/{{dataset}}/{{model}}/{{method}}/seed{{seed}}/plane{{direction_seed}}{{network}}.npz",
        code=code_of_model("plane.py"),
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
        "<results>/landscapes/{dataset}/{model}/{method}/seed{seed}/trajectory{network}.npz",
    log:
        "<logs>/landscapes/{dataset}/{model}/{method}/seed{seed}/trajectory{network}.log",
    benchmark:
        "<benchmarks>/landscapes/{dataset}/{model}/{method}/seed{seed}/trajectory{network}.tsv"
    wildcard_constraints:
        network=OTHER_NETWORK,
    priority: possible
    conda:
        "../../envs/perturb.yaml"
    resources:
        mem_mb=4000,
        gpu_shares=CONFIG.values.get("gpu_shares", 1),
    params:
        specification=specification,
        device=device,
        settings=landscape_settings("trajectory"),
        state=f"{RESULTS}/state/landscapes/{{dataset}}/{{model}}/{{method}}/seed{{seed}}/trajectory{{network}}.npz",
        code=code_of_model("trajectory.py"),
    script:
        "../scripts/trajectory.py"


rule curvature:
    input:
        images="<results>/data/{dataset}.npz",
        manifest="<results>/data/{dataset}.manifest.json",
        record="<results>/runs/{dataset}/{model}/{method}/seed{seed}/record.json",
        weights="<results>/runs/{dataset}/{model}/{method}/seed{seed}/last.safetensors",
    output:
        "<results>/landscapes/{dataset}/{model}/{method}/seed{seed}/curvature{network}.json",
    log:
        "<logs>/landscapes/{dataset}/{model}/{method}/seed{seed}/curvature{network}.log",
    benchmark:
        "<benchmarks>/landscapes/{dataset}/{model}/{method}/seed{seed}/curvature{network}.tsv"
    wildcard_constraints:
        network=OTHER_NETWORK,
    priority: possible
    conda:
        "../../envs/perturb.yaml"
    resources:
        mem_mb=4000,
        gpu_shares=CONFIG.values.get("gpu_shares", 1),
    params:
        specification=specification,
        device=device,
        settings=landscape_settings("curvature"),
        code=code_of_model("curvature.py"),
    script:
        "../scripts/curvature.py"


# All surfaces of a chapter, to choose from, two side by side.
rule landscape_page:
    input:
        lambda wildcards: say(ASK.planes, wildcards.chapter),
    output:
        page=report(
            "<results>/landscapes/{chapter}.html",
            category="Landscapes",
            subcategory="{chapter}",
        ),
    log:
        "<logs>/landscapes/{chapter}_page.log",
    benchmark:
        "<benchmarks>/landscapes/{chapter}_page.tsv"
    wildcard_constraints:
        chapter="[^/]+",
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        scale=lambda wildcards: say(ASK.chapter, wildcards.chapter).scale,
        code=ASK.code_of("landscape_page.py", *PAGE_PARTS),
    script:
        "../scripts/landscape_page.py"


# One plane, where it is asked for: as such a page, and for ParaView.
rule plane_page:
    input:
        "<results>/landscapes/{dataset}/{model}/{method}/seed{seed}/{plane}.npz",
    output:
        page="<results>/landscapes/{dataset}/{model}/{method}/seed{seed}/{plane}.html",
        vti="<results>/landscapes/{dataset}/{model}/{method}/seed{seed}/{plane}.vti",
    log:
        "<logs>/landscapes/{dataset}/{model}/{method}/seed{seed}/{plane}_page.log",
    benchmark:
        "<benchmarks>/landscapes/{dataset}/{model}/{method}/seed{seed}/{plane}_page.tsv"
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        code=ASK.code_of("landscape_page.py", *PAGE_PARTS),
    script:
        "../scripts/landscape_page.py"
