# Whether results are what they say: a target of its own, `snakemake verify`. It makes nothing.
rule verify:
    log:
        "<logs>/verify.log",
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        results=str(RESULTS),
        # Functions: a name of a file, or a value after --config, may hold braces.
        given=lambda wildcards: GIVEN,
        schema=lambda wildcards: str(ROOT / "config" / "schema.yaml"),
    script:
        "../scripts/verify.py"
