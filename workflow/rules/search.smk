# Searches: steps that list trials, measure and choose; rungs of successive halving; predictions.
checkpoint search_step:
    input:
        before=step_before,
        needs=needs_of_step,
    output:
        "<results>/search/{chapter}/{stage}/step{step}.json",
    log:
        "<logs>/search/{chapter}/{stage}/step{step}.log",
    wildcard_constraints:
        chapter="(?!rungs/)[^/]+",
        stage="[^/]+",
        step=r"\d+",
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        search=lambda wildcards: say(
            ASK.search_json, wildcards.chapter, wildcards.stage
        ),
        results=lambda wildcards, resources: str(RESULTS),
        schema=lambda wildcards, resources: str(ROOT / "config" / "schema.yaml"),
        code=ASK.code_of("search_step.py", "perturb.search.flags"),
    script:
        "../scripts/search_step.py"


# The run is trained in part; its state stays, and whoever asks for more goes on from there.
rule rung:
    input:
        images="<results>/data/{dataset}.npz",
        manifest="<results>/data/{dataset}.manifest.json",
        initial="<results>/init/{dataset}/{model}/seed{seed}.safetensors",
    output:
        rung="<results>/search/rungs/{dataset}/{model}/{method}/seed{seed}/epoch{until}.json",
    log:
        "<logs>/rungs/{dataset}/{model}/{method}/seed{seed}/epoch{until}.log",
    benchmark:
        "<benchmarks>/rungs/{dataset}/{model}/{method}/seed{seed}/epoch{until}.tsv"
    wildcard_constraints:
        method=ASK.methods_of("train"),
        until=r"\d+",
    priority: possible
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
        record=f"{RESULTS}/runs/{{dataset}}/{{model}}/{{method}}/seed{{seed}}/record.json",
        state=f"{RESULTS}/state/runs/{{dataset}}/{{model}}/{{method}}/seed{{seed}}",
        # That of the run, whose progress it is.
        progress=workflow.pathvars.apply(
            "<logs>/runs/{dataset}/{model}/{method}/seed{seed}.progress.jsonl"
        ),
    shell:
        '"$PERTURB_PYTHON" -S -E "$PERTURB_ROOT/src/perturb/jobs/forkserver.py"'
        ' "$PERTURB_ROOT/workflow/scripts/train.py" {params.specification:q} {log:q}'
        " --device {params.device} --gpu-shares {resources.gpu_shares}"
        " --save-seconds {resources.save_seconds}"
        " --images {input.images:q} --manifest {input.manifest:q} --initial {input.initial:q}"
        " --record {params.record:q} --state {params.state:q}"
        " --until {wildcards.until} --rung {output.rung:q} --progress {params.progress:q}"


rule predictions:
    input:
        images="<results>/data/{dataset}.npz",
        manifest="<results>/data/{dataset}.manifest.json",
        record="<results>/runs/{dataset}/{model}/{method}/seed{seed}/record.json",
        weights="<results>/runs/{dataset}/{model}/{method}/seed{seed}/last.safetensors",
    output:
        "<results>/predictions/{dataset}/{model}/{method}/seed{seed}.npz",
    log:
        "<logs>/predictions/{dataset}/{model}/{method}/seed{seed}.log",
    benchmark:
        "<benchmarks>/predictions/{dataset}/{model}/{method}/seed{seed}.tsv"
    priority: possible
    conda:
        "../../envs/perturb.yaml"
    resources:
        mem_mb=2000,
        gpu_shares=CONFIG.values.get("gpu_shares", 1),
    params:
        specification=specification,
        device=device,
        code=code_of_run,
        code_of_script=ASK.code_of("predictions.py"),
    script:
        "../scripts/predictions.py"


rule search_page:
    input:
        steps=lambda wildcards: say(ASK.steps_of, wildcards.chapter),
    output:
        report(
            update("<results>/search/{chapter}/trials.html"),
            category="Searches",
            labels={"search": "{chapter}"},
        ),
    log:
        "<logs>/search/{chapter}/page.log",
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        settings=lambda wildcards: say(ASK.chapter_settings, wildcards.chapter),
        mark=ASK.mark("search/{chapter}/page"),
        failures=lambda wildcards: ASK.failures(f"search/{wildcards.chapter}/page"),
        code=ASK.code_of("search_page.py"),
    script:
        "../scripts/search_page.py"
