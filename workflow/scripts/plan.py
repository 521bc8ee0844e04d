"""Print what a target costs; with a budget, choose the seeds that it buys and write the plan."""

from pathlib import Path

from perturb.jobs.scripting import user_errors

with user_errors(snakemake.log[0]):
    from perturb.config import Config
    from perturb.figures import planning as figures
    from perturb.figures.style import save
    from perturb.files import write_text
    from perturb.planning import budget, survey, targets
    from perturb.planning.settings import Settings

    params = snakemake.params
    config = Config(snakemake.config, Path(params.schema))
    settings = Settings.of(config.values)
    results = Path(params.results)
    target = targets.resolve(settings.target, config, results)
    found = survey.survey(target, config, settings, results, Path(params.benchmarks))
    print(survey.text(found), flush=True)
    if settings.budget is not None:
        plan = budget.make_plan(found, config, settings)
        stem = results / "plan" / target.name
        write_text(f"{stem}.yaml", budget.config_text(plan, config))
        write_text(f"{stem}_schedule.csv", budget.schedule_text(plan))
        for name, draw in figures.FIGURES.items():
            figure = draw(plan)
            for kind in ("pdf", "png"):
                save(figure, f"{stem}_{name}.{kind}")
        print(f"\n{budget.text(plan)}\n")
        configs = " ".join([*params.configfiles, f"{stem}.yaml"])
        goal = f" -- {settings.target}" if "/" in settings.target else ""
        print(f"Run it: snakemake --configfile {configs}{goal}", flush=True)
