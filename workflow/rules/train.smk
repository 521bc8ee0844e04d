rule initialise:
    input:
        manifest="<results>/data/{dataset}.manifest.json",
        source=initial_source,
    output:
        "<results>/init/{dataset}/{model}/seed{seed}.safetensors",
    log:
        "<logs>/init/{dataset}/{model}/seed{seed}.log",
    benchmark:
        "<benchmarks>/init/{dataset}/{model}/seed{seed}.tsv"
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        network=lambda wildcards: say(ASK.network, wildcards.model),
        weights=path_of_weights,
        data_root=data_root,
        code=code_of_model("initialise.py"),
    script:
        "../scripts/initialise.py"


rule train:
    input:
        images="<results>/data/{dataset}.npz",
        manifest="<results>/data/{dataset}.manifest.json",
        initial=of_run(ASK.made_initial),
    output:
        record="<results>/runs/{dataset}/{model}/{method}/seed{seed}/record.json",
        epochs="<results>/runs/{dataset}/{model}/{method}/seed{seed}/epochs.csv",
        batches="<results>/runs/{dataset}/{model}/{method}/seed{seed}/batches.npz",
        last="<results>/runs/{dataset}/{model}/{method}/seed{seed}/last.safetensors",
        best="<results>/runs/{dataset}/{model}/{method}/seed{seed}/best.safetensors",
        timing="<results>/runs/{dataset}/{model}/{method}/seed{seed}/timing.csv",
        checkpoints=directory(
            "<results>/runs/{dataset}/{model}/{method}/seed{seed}/checkpoints"
        ),
    log:
        "<logs>/runs/{dataset}/{model}/{method}/seed{seed}.log",
    benchmark:
        "<benchmarks>/runs/{dataset}/{model}/{method}/seed{seed}.tsv"
    wildcard_constraints:
        method=ASK.methods_of("train"),
    priority: possible
    group:
        pack_of
    conda:
        "../../envs/perturb.yaml"
    resources:
        mem_mb=2000,
        gpu_shares=CONFIG.values.get("gpu_shares", 1),
        save_seconds=str(CONFIG.values.get("save_seconds", 60)),  # not compared: no parameter
    params:
        specification=specification,
        device=device,
        code=code_of_run,
        initial=initial,
        # Outside the outputs, which Snakemake deletes before a job starts again.
        state=f"{RESULTS}/state/runs/{{dataset}}/{{model}}/{{method}}/seed{{seed}}",
    # Not `script:`, whose imports in each job take as long as a short run's epoch.
    shell:
        '"$PERTURB_PYTHON" -S -E "$PERTURB_ROOT/src/perturb/jobs/forkserver.py"'
        ' "$PERTURB_ROOT/workflow/scripts/train.py" {params.specification:q} {log:q}'
        " --device {params.device} --gpu-shares {resources.gpu_shares}"
        " --save-seconds {resources.save_seconds}"
        " --images {input.images:q} --manifest {input.manifest:q} --initial {params.initial:q}"
        " --record {output.record:q} --state {params.state:q}"
