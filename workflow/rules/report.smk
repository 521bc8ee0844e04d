REPORT_PARTS = (
    "report.html.j2",
    "style.css.j2",
    "report.css.j2",
    "report.js.j2",
    "curves.js.j2",
)


rule section:
    input:
        **SECTION,
    output:
        update("<results>/section.tex"),
    log:
        "<logs>/section.log",
    benchmark:
        "<benchmarks>/section.tsv"
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        chapters=lambda wildcards: ASK.asked_json(),  # a function: it may hold braces
        mark=ASK.mark("section"),
        failures=ASK.failures("section"),
        code=ASK.code_of("section.py", *ASK.words()),
    script:
        "../scripts/section.py"


rule report:
    input:
        **SECTION,
    output:
        report(update("<results>/report.html"), category="Report"),
    log:
        "<logs>/report.log",
    benchmark:
        "<benchmarks>/report.tsv"
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        chapters=lambda wildcards: ASK.asked_json(),  # a function: it may hold braces
        mark=ASK.mark("report"),
        failures=ASK.failures("report"),
        title=lambda wildcards: ASK.title,  # the user's own words, and so are the chapters'
        given=lambda wildcards, resources: GIVEN,  # words only: not compared
        code=ASK.code_of(
            "report.py",
            *ASK.words(),
            *(ROOT / "src/perturb/report" / name for name in REPORT_PARTS),
        ),
    script:
        "../scripts/report.py"
