rule prepare_data:
    output:
        images="<results>/data/{dataset}.npz",
        manifest="<results>/data/{dataset}.manifest.json",
    log:
        "<logs>/data/{dataset}.log",
    benchmark:
        "<benchmarks>/data/{dataset}.tsv"
    wildcard_constraints:
        dataset=f"(?!audit_)(?!{ASK.folders_pattern}[.])[^/]+",
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        dataset=lambda wildcards: say(ASK.dataset, wildcards.dataset),
        split_seed=CONFIG.values.get("split_seed", 0),
        content=lambda wildcards: say(ASK.content, wildcards.dataset),
        class_map=lambda wildcards, resources: say(ASK.class_map, wildcards.dataset),
        data_root=lambda wildcards, resources: say(ASK.data_root, wildcards.dataset),
        allow_partial=lambda wildcards, resources: say(
            ASK.allow_partial, wildcards.dataset
        ),
        folder=lambda wildcards, resources: say(ASK.image_folder, wildcards.dataset),
        code=lambda wildcards: say(
            ASK.code_of_data, "prepare_data.py", wildcards.dataset
        ),
    script:
        "../scripts/prepare_data.py"


# A user's own images: a rule of its own, so that what prepares the other data sets stays as it is.
rule prepare_folder:
    output:
        images="<results>/data/{dataset}.npz",
        manifest="<results>/data/{dataset}.manifest.json",
    log:
        "<logs>/data/{dataset}.log",
    benchmark:
        "<benchmarks>/data/{dataset}.tsv"
    wildcard_constraints:
        dataset=ASK.folders_pattern,
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        dataset=lambda wildcards: say(ASK.dataset, wildcards.dataset),
        split_seed=CONFIG.values.get("split_seed", 0),
        content=lambda wildcards: say(ASK.content, wildcards.dataset),
        folder=lambda wildcards, resources: say(ASK.image_folder, wildcards.dataset),
        side=lambda wildcards: say(ASK.image_side, wildcards.dataset),
        code=lambda wildcards: say(
            ASK.code_of_data, "prepare_folder.py", wildcards.dataset
        ),
    script:
        "../scripts/prepare_folder.py"


rule find_duplicates:
    input:
        # Other images have another manifest: a time alone is no reason to search again.
        images=ancient("<results>/data/{dataset}.npz"),
        manifest="<results>/data/{dataset}.manifest.json",
    output:
        "<results>/data/{dataset}.duplicates.json",
    log:
        "<logs>/data/{dataset}.duplicates.log",
    benchmark:
        "<benchmarks>/data/{dataset}.duplicates.tsv"
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        equal_only=CONFIG.scale == "smoke",
        code=say(ASK.code_of, "find_duplicates.py"),
    script:
        "../scripts/find_duplicates.py"
