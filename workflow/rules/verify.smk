# Whether results are what they say: a target of its own, `snakemake verify`. It makes nothing.
rule verify:
    log:
        "<logs>/verify.log",
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        results=str(RESULTS),
        given=GIVEN,
        schema=str(ROOT / "config" / "schema.yaml"),
    script:
        "../scripts/verify.py"
