"""Write the report: one HTML file that opens without network."""

from perturb.forkserver import hand_over

hand_over()

import json

from perturb.scripting import user_errors

with user_errors(snakemake.log[0]):
    from perturb.report import html
    from perturb.report.gradients import sections
    from perturb.report.material import chapters, ranking

    parts = [snakemake.input.get(name, []) for name in ("tables", "figures", "pages")]
    found = chapters(snakemake.params.plans, *parts)
    ranked = ranking(snakemake.input.get("ranking", []))
    given = snakemake.input.get("gradients", [])
    studies = sections(json.loads(snakemake.params.gradients), given, given)
    html.write(found, snakemake.output[0], ranked, studies)
