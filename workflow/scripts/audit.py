"""Audit a folder of result files: its tables, figures and page."""

from pathlib import Path

from perturb.jobs.scripting import counted, user_errors

with (
    user_errors(snakemake.log[0]),
    counted(snakemake.params.mark, snakemake.params.failures),
):
    from perturb.audit import formats
    from perturb.audit.plan import AuditPlan
    from perturb.audit.study import build
    from perturb.figures.audit import FIGURES, draw
    from perturb.figures.style import save
    from perturb.files import write_text
    from perturb.jobs import command_line
    from perturb.report import audit as page

    out = snakemake.output
    audit = build(AuditPlan.from_json(snakemake.params.plan))
    command = command_line.of_target(out.html, snakemake.params.given)
    texts = formats.texts(audit, command)
    write_text(out.csv, texts["csv"])
    write_text(out.claims, texts["claims.csv"])
    write_text(out.md, texts["md"])
    for name, pdf, png in zip(FIGURES, out.pdf, out.png, strict=True):
        figure = draw(name, audit)
        save(figure, pdf)
        save(figure, png)
    pictures = dict(zip(FIGURES, map(Path, out.png), strict=True))
    page.write(audit, pictures, out.html, command)
