"""Print what a target costs; with a budget, choose the seeds that it buys and write the plan."""

import os
from pathlib import Path

from perturb.jobs.scripting import user_errors

with user_errors(snakemake.log[0]):
    from dataclasses import replace

    import yaml

    from perturb.config import Config
    from perturb.figures import planning as figures
    from perturb.figures.style import save
    from perturb.files import write_text
    from perturb.jobs.finished import code_changes
    from perturb.jobs.store import COMMIT_VARIABLE, Store
    from perturb.planning import budget, survey, targets
    from perturb.planning.settings import Settings
    from perturb.search import rungs
    from perturb.search.listing import assumed
    from perturb.studies import specification
    from perturb.workflow import Workflow

    params = snakemake.params
    root, results = Path(params.root), Path(params.results)
    config = Config(snakemake.config, root / "config" / "schema.yaml")
    settings = Settings.of(config.values)
    target = targets.resolve(settings.target, Workflow(config, results, root))
    store = Store.of_environment()

    def priced(target):
        """Return what a target costs beside what is finished or in the store."""
        return survey.survey(target, config, settings, results, Path(params.benchmarks), store)

    found = priced(target)
    print(survey.text(found), flush=True)
    surveys = [found]
    later = [run for chapter in target.chapters for run in assumed(config, chapter)]
    if later:
        print(
            "\nA search's later stages list their trials when earlier ones have chosen. At most:\n"
        )
        more = replace(target, runs=tuple(dict.fromkeys(later)), chapters=())
        more_found = priced(more)
        surveys.append(more_found)
        print(survey.text(more_found), flush=True)
    records = [(results / run.record, specification(config, run)) for run in target.runs]
    changed = code_changes(records, store, os.environ.get(COMMIT_VARIABLE, ""))
    if changed:
        print(changed, flush=True)
    alone = target.chapters[0] if len(target.chapters) == 1 else None
    if settings.budget is not None and alone and rungs.search_of(alone):
        search = rungs.search_of(alone)
        each = {
            (method.group[1:], method.method): one.seconds(method, one.here)
            for one in surveys
            for method in one.methods
        }
        bought = rungs.buy(
            config,
            alone,
            lambda run: each[(run.dataset, run.model), run.method],
            settings.budget * settings.gpus,
        )
        path = results / "plan" / f"{target.name}.yaml"
        write_text(path, yaml.safe_dump(rungs.section(config, search, bought), sort_keys=False))
        print(f"\n{rungs.text(search, bought, settings.budget * settings.gpus)}\n")
        configs = " ".join([*params.configfiles, str(path)])
        print(f"Run it: snakemake --configfile {configs} -- {target.path}", flush=True)
    elif settings.budget is not None:
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
