# What a folder of result files can carry: `snakemake results/audit/<name>.html` (docs/audit.md).
AUDIT_PARTS = ("audit.html.j2", "style.css.j2")


rule audit:
    input:
        lambda wildcards: files_of_audit(wildcards.audit),
    output:
        html=report(
            "<results>/audit/{audit}.html",
            category="Audits",
            labels={"audit": "{audit}"},
        ),
        csv="<results>/audit/{audit}.csv",
        claims="<results>/audit/{audit}.claims.csv",
        md="<results>/audit/{audit}.md",
        pdf=expand("<results>/figures/audit_{{audit}}/{name}.pdf", name=AUDIT),
        png=expand("<results>/figures/audit_{{audit}}/{name}.png", name=AUDIT),
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
        plan=lambda wildcards: say(CONFIG.audit, wildcards.audit).to_json(),
        code=code_of(
            "audit.py",
            *(ROOT / "src/perturb/report" / name for name in AUDIT_PARTS),
        ),
    script:
        "../scripts/audit.py"
