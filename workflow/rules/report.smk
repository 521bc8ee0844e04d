REPORT_PARTS = ("report.html.j2", "style.css.j2")
RESULTS_OF_ALL = dict(
    tables=[
        f"<results>/tables/{name}.csv"
        for dataset in CONFIG.datasets
        for name in tables_of(dataset)
    ],
    pages=[page for dataset in CONFIG.datasets for page in pages_of(dataset)],
    figures=[
        path
        for dataset in CONFIG.datasets
        for path in figures_of(dataset, kinds=["pdf", "png"])
    ],
    gradients=[
        path
        for study in CONFIG.values.get("studies", [])
        for paths in gradients_results(study).values()
        for path in paths
    ],
    ranking=ranking_files("csv", "pdf", "png"),
)
PLANS_OF_ALL = plans_of_all()

GRADIENTS_OF_ALL = json.dumps(
    [
        json.loads(say(gradients_study, CONFIG.values, study).words())
        for study in CONFIG.values.get("studies", [])
    ],
    sort_keys=True,
)


rule section:
    input:
        **RESULTS_OF_ALL,
    output:
        "<results>/section.tex",
    log:
        "<logs>/section.log",
    benchmark:
        "<benchmarks>/section.tsv"
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        plans=PLANS_OF_ALL,
        gradients=GRADIENTS_OF_ALL,
        code=code_of("section.py"),
    script:
        "../scripts/section.py"


rule report:
    input:
        **RESULTS_OF_ALL,
    output:
        report("<results>/report.html", category="Report"),
    log:
        "<logs>/report.log",
    benchmark:
        "<benchmarks>/report.tsv"
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        plans=PLANS_OF_ALL,
        gradients=GRADIENTS_OF_ALL,
        code=code_of(
            "report.py",
            *(ROOT / "src/perturb/report" / name for name in REPORT_PARTS),
        ),
    script:
        "../scripts/report.py"
