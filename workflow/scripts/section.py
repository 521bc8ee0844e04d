"""Write the results section as LaTeX."""

from perturb.scripting import user_errors

with user_errors(snakemake.log[0]):
    from perturb.report import section
    from perturb.report.material import chapters, ranking

    parts = [snakemake.input.get(name, []) for name in ("tables", "figures", "pages")]
    found = chapters(snakemake.params.plans, *parts)
    section.write(found, snakemake.output[0], ranking(snakemake.input.get("ranking", [])))
