"""Write the report: one HTML file that opens without network."""

from perturb.scripting import user_errors

with user_errors(snakemake.log[0]):
    from perturb.report import html
    from perturb.report.material import chapters, ranking

    parts = [snakemake.input.get(name, []) for name in ("tables", "figures", "pages")]
    found = chapters(snakemake.params.plans, *parts)
    html.write(found, snakemake.output[0], ranking(snakemake.input.get("ranking", [])))
