# Whether results are what they say: a target of its own, `snakemake verify`. It makes nothing.
def studies_made():
    """Return what each data set's results section is made of, as text: asked for, or there."""
    studies = []
    for dataset in CONFIG.values["rts"]["datasets"]:
        made = (RESULTS / "tables" / f"{dataset}.csv", RESULTS / "figures" / dataset)
        if dataset in CONFIG.datasets or any(path.exists() for path in made):
            drawn = CONFIG.landscape(dataset)
            records = records_of_landscapes(dataset) if drawn else []
            studies.append(
                dict(
                    plan=json.loads(plan_of(dataset)),
                    asked=dataset in CONFIG.datasets,
                    records=records_of(dataset),
                    figures=figures_of(dataset),
                    pages=pages_of(dataset),
                    landscapes=(
                        landscapes_of(dataset) | {"records": records} if drawn else {}
                    ),
                    flat_margin=CONFIG.landscape_settings(dataset).flat_margin,
                )
            )
    return json.dumps(studies)


rule verify:
    log:
        "<logs>/verify.log",
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        results=str(RESULTS),
        schema=str(ROOT / "config" / "schema.yaml"),
        studies=lambda wildcards: studies_made(),
    script:
        "../scripts/verify.py"
