rule prepare_data:
    output:
        images="<results>/data/{dataset}.npz",
        manifest="<results>/data/{dataset}.manifest.json",
    log:
        "<logs>/data/{dataset}.log",
    benchmark:
        "<benchmarks>/data/{dataset}.tsv"
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        dataset=lambda wildcards: say(ASK.dataset, wildcards.dataset),
        split_seed=CONFIG.values.get("split_seed", 0),
        content=lambda wildcards: say(ASK.content, wildcards.dataset),
        class_map=lambda wildcards: say(ASK.class_map, wildcards.dataset),
        data_root=data_root,
        allow_partial=lambda wildcards, resources: say(
            ASK.allow_partial, wildcards.dataset
        ),
        folder=lambda wildcards, resources: say(ASK.image_folder, wildcards.dataset),
        code=lambda wildcards: say(
            ASK.code_of_data, "prepare_data.py", wildcards.dataset
        ),
    script:
        "../scripts/prepare_data.py"
