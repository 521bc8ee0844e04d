# What a finished run says of each test image, from its last weights: a rule of its own, for a file
# more among the outputs of `train` would make every finished run again.
rule predict:
    input:
        images="<results>/data/{dataset}.npz",
        manifest="<results>/data/{dataset}.manifest.json",
        record="<results>/runs/{dataset}/{model}/{method}/seed{seed}/record.json",
        weights="<results>/runs/{dataset}/{model}/{method}/seed{seed}/last.safetensors",
    output:
        "<results>/predictions/{dataset}/{model}/{method}/seed{seed}/last.npz",
    log:
        "<logs>/predictions/{dataset}/{model}/{method}/seed{seed}.log",
    benchmark:
        "<benchmarks>/predictions/{dataset}/{model}/{method}/seed{seed}.tsv"
    priority: possible
    # In the job of its run, where that shares one.
    group:
        pack_of
    conda:
        "../../envs/perturb.yaml"
    resources:
        mem_mb=2000,
        gpu_shares=CONFIG.values.get("gpu_shares", 1),
    params:
        specification=specification,
        device=device,
        code=of_run(ASK.code_of_predictions),
    # Not `script:`, whose imports in each job take longer than the predictions of a small net.
    shell:
        '"$PERTURB_PYTHON" -S -E "$PERTURB_ROOT/src/perturb/jobs/forkserver.py"'
        ' "$PERTURB_ROOT/workflow/scripts/predict.py" {params.specification:q} {log:q}'
        " --device {params.device} --gpu-shares {resources.gpu_shares}"
        " --images {input.images:q} --manifest {input.manifest:q} --record {input.record:q}"
        " --weights {input.weights:q} --output {output:q}"
