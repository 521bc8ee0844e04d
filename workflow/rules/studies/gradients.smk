# Toys of sign units; layers of trained XNOR-ResNets; what the toys' estimates took in seconds.
rule toy:
    output:
        record="<results>/runs/{dataset}/{model}/{method}/seed{seed}/record.json",
        curves="<results>/runs/{dataset}/{model}/{method}/seed{seed}/curves.csv",
        windows="<results>/runs/{dataset}/{model}/{method}/seed{seed}/windows.csv",
        batches="<results>/runs/{dataset}/{model}/{method}/seed{seed}/batches.csv",
        pooled="<results>/runs/{dataset}/{model}/{method}/seed{seed}/pooled.csv",
        timing="<results>/runs/{dataset}/{model}/{method}/seed{seed}/timing.csv",
    log:
        "<logs>/runs/{dataset}/{model}/{method}/seed{seed}.log",
    benchmark:
        "<benchmarks>/runs/{dataset}/{model}/{method}/seed{seed}.tsv"
    wildcard_constraints:
        method="toy_[^/]+",
    priority: possible
    group:
        pack_of
    conda:
        "../../../envs/perturb.yaml"
    resources:
        mem_mb=2000,
        gpu_shares=CONFIG.values.get("gpu_shares", 1),
        save_seconds=str(CONFIG.values.get("save_seconds", 60)),  # not compared: no parameter
    params:
        specification=specification,
        device=device,
        code=code_of_run,
        state=f"{RESULTS}/state/runs/{{dataset}}/{{model}}/{{method}}/seed{{seed}}",
    shell:
        '"$PERTURB_PYTHON" -S -E "$PERTURB_ROOT/src/perturb/jobs/forkserver.py"'
        ' "$PERTURB_ROOT/workflow/scripts/train.py" {params.specification:q} {log:q}'
        " --device {params.device} --gpu-shares {resources.gpu_shares}"
        " --save-seconds {resources.save_seconds}"
        " --record {output.record:q} --state {params.state:q}"


rule layers:
    input:
        images="<results>/data/{dataset}.npz",
        manifest="<results>/data/{dataset}.manifest.json",
        record="<results>/runs/{dataset}/{model}/{method}/seed{seed}/record.json",
        weights="<results>/runs/{dataset}/{model}/{method}/seed{seed}/last.safetensors",
    output:
        record="<results>/gradients/{chapter}/layers/{dataset}/{model}/{method}/seed{seed}/record.json",
        layers="<results>/gradients/{chapter}/layers/{dataset}/{model}/{method}/seed{seed}/layers.csv",
    log:
        "<logs>/gradients/{chapter}/layers/{dataset}/{model}/{method}/seed{seed}.log",
    benchmark:
        "<benchmarks>/gradients/{chapter}/layers/{dataset}/{model}/{method}/seed{seed}.tsv"
    priority: possible
    conda:
        "../../../envs/perturb.yaml"
    resources:
        mem_mb=4000,
        gpu_shares=CONFIG.values.get("gpu_shares", 1),
    params:
        specification=specification,
        device=device,
        settings=lambda wildcards: say(ASK.chapter_setting, wildcards.chapter, "layers"),
        job=lambda wildcards: ASK.module(wildcards.chapter, "layers") + ":run",
        state=f"{RESULTS}/state/gradients/{{chapter}}/layers/{{dataset}}/{{model}}/{{method}}/seed{{seed}}",
        code=lambda wildcards: ASK.code_of(
            "layers.py", ASK.module(wildcards.chapter, "layers")
        ),
    script:
        "../../scripts/layers.py"


# Seconds differ from run to run, so their figure stands with the benchmarks.
rule seconds:
    input:
        records=lambda wildcards: ASK.own_runs(wildcards.chapter, "record.json"),
        timings=lambda wildcards: ASK.own_runs(wildcards.chapter, "timing.csv"),
    output:
        pdf=update("<benchmarks>/gradients/{chapter}/seconds.pdf"),
        png=update("<benchmarks>/gradients/{chapter}/seconds.png"),
    log:
        "<logs>/gradients/{chapter}/seconds.log",
    localrule: True
    conda:
        "../../../envs/perturb.yaml"
    params:
        make=lambda wildcards: ASK.module(wildcards.chapter, "figures")
        + ":make_seconds",
        mark=ASK.mark("figures/{chapter}/seconds"),
        failures=lambda wildcards: ASK.failures(f"figures/{wildcards.chapter}/seconds"),
        settings=lambda wildcards: ASK.chapter_settings(wildcards.chapter),
        code=lambda wildcards: ASK.code_of(
            "figure.py", ASK.module(wildcards.chapter, "figures")
        ),
    script:
        "../../scripts/figure.py"
