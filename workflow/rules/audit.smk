# What a folder of result files can carry: `snakemake results/audit/<name>.html` (docs/audit.md).
AUDIT_PARTS = ("audit.html.j2", "style.css.j2")


rule audit:
    input:
        lambda wildcards: say(ASK.files_of_audit, wildcards.audit),
    output:
        html=report(
            update("<results>/audit/{audit}.html"),
            category="Audits",
            labels={"audit": "{audit}"},
        ),
        csv=update("<results>/audit/{audit}.csv"),
        claims=update("<results>/audit/{audit}.claims.csv"),
        md=update("<results>/audit/{audit}.md"),
        pdf=update(expand("<results>/figures/audit_{{audit}}/{name}.pdf", name=AUDIT)),
        png=update(expand("<results>/figures/audit_{{audit}}/{name}.png", name=AUDIT)),
    log:
        "<logs>/audit/{audit}.log",
    benchmark:
        "<benchmarks>/audit/{audit}.tsv"
    wildcard_constraints:
        audit=r"[^/]+(?<!\.claims)",
    localrule: True
    conda:
        "../../envs/perturb.yaml"
    params:
        plan=lambda wildcards: say(ASK.audit, wildcards.audit),
        mark=ASK.mark("audit/{audit}"),
        failures=lambda wildcards: ASK.failures(f"audit/{wildcards.audit}"),
        given=lambda wildcards, resources: GIVEN,  # words only: not compared
        content=lambda wildcards: say(ASK.content_of_audit, wildcards.audit),
        code=ASK.code_of(
            "audit.py",
            *(ROOT / "src/perturb/report" / name for name in AUDIT_PARTS),
        ),
    script:
        "../scripts/audit.py"
