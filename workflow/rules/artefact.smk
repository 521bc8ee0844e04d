# One archive for a reviewer (docs/artefact.md): a target of its own, `snakemake artefact`. Without
# an output it packs anew whenever it is asked for.
rule artefact:
    input:
        "<results>/report.html",
        "<results>/section.tex",
        **SECTION,
    log:
        "<logs>/artefact.log",
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        results=lambda wildcards, input: os.path.dirname(input[0]),
        # Functions: a name of a file, or a value after --config, may hold braces.
        given=lambda wildcards: GIVEN,
        root=lambda wildcards: str(ROOT),
        configfiles=lambda wildcards: [
            os.path.relpath(path) for path in workflow.overwrite_configfiles
        ],
    script:
        "../scripts/artefact.py"
