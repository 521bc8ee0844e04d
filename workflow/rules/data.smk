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
        dataset=lambda wildcards: known_dataset(wildcards.dataset),
        data_root=CONFIG.values["data_root"],
        split_seed=CONFIG.values.get("split_seed", 0),
        allow_partial=CONFIG.values.get("partial_data", False),
        folder=lambda wildcards: CONFIG.values.get("image_folders", {}).get(
            wildcards.dataset, ""
        ),
        code=code_of_data,
    script:
        "../scripts/prepare_data.py"
