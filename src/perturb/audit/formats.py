"""Writing an audit as CSV and Markdown: the same bytes for the same folder."""

from __future__ import annotations

import pandas as pd

from perturb.analysis.printers import csv_text
from perturb.audit import words
from perturb.audit.findings import KINDS
from perturb.audit.reading import canonical
from perturb.audit.study import Audit
from perturb.audit.words import Table


def texts(audit: Audit, command: str) -> dict[str, str]:
    """Return the tables of an audit by the ending of their files; `command` makes them again."""
    return {
        "csv": csv_text(files_frame(audit)),
        "claims.csv": csv_text(claims_frame(audit)),
        "md": markdown(audit, command),
    }


def files_frame(audit: Audit) -> pd.DataFrame:
    """Return one row per file, for every file of the folder: accuracies are fractions of 1."""
    rows = []
    for file in audit.files:
        found = [finding for finding in audit.findings if finding.path == file.path]
        ends, run = audit.ends.get(file.path), audit.run.get(file.path)
        rows.append(
            {
                "path": file.path,
                "state": file.state,
                "dataset": file.dataset,
                "model": file.model,
                "name": file.name,
                "method": canonical(file.method) if file.method else None,
                "seed": file.seed,
                "epochs_named": file.epochs,
                "epochs_found": len(file.curves) if file.curves is not None else None,
                "best_accuracy": ends.best if ends else None,
                "best_epoch": ends.best_epoch if ends else None,
                "last_accuracy": ends.last if ends else None,
                "mean_of_last_ten_accuracy": ends.last_ten if ends else None,
                "claimed_best_accuracy": file.best_accuracy,
                "run_as": canonical(run) if run else None,
                "findings": "; ".join(sorted({finding.kind for finding in found})),
                "evidence": " | ".join(finding.text for finding in found),
                "sha256": file.sha256,
            }
        )
    counts = ("epochs_named", "epochs_found", "best_epoch")
    return pd.DataFrame(rows).astype(dict.fromkeys(counts, "Int64"))


def claims_frame(audit: Audit) -> pd.DataFrame:
    """Return one row per claim: differences are method less baseline, fractions of 1."""
    rows = [
        {
            "dataset": claim.dataset,
            "model": claim.model,
            "epochs": claim.epochs,
            "method": claim.method.name,
            "baseline": claim.baseline.name,
            "headline": claim.headline,
            "published_accuracy": claim.published,
            "method_runs": len(claim.method.files),
            "baseline_runs": len(claim.baseline.files),
            "best_epoch_difference": claim.best_difference,
            "last_epoch_difference": claim.difference,
            "last_epoch_difference_ci95_low": claim.low,
            "last_epoch_difference_ci95_high": claim.high,
            "mean_of_last_ten_difference": claim.last_ten_difference,
            "selection": claim.selection,
            "p_value": claim.p_value,
            "p_value_holm": claim.p_value_holm,
            "verdict": claim.verdict,
            **{f"verdict_{name}": verdict for name, verdict in (claim.verdicts or {}).items()},
            "reason": claim.reason,
            "variants": claim.variants.count if claim.variants else None,
        }
        for claim in audit.claims
    ]
    frame = pd.DataFrame(rows)
    return frame.astype({"epochs": "Int64"}) if rows else frame


def markdown(audit: Audit, command: str) -> str:
    """Return the audit for GitHub: claims first, then the evidence, and what makes it again."""
    headlines = [claim for claim in audit.claims if claim.headline]
    others = [claim for claim in audit.claims if not claim.headline]
    parts = [f"# Audit: {audit.plan.title or audit.plan.name}"]
    parts.append("\n".join(f"- {sentence}" for sentence in words.summary(audit)))
    if audit.guessed:
        parts += ["## What was guessed, as configuration", f"```yaml\n{audit.configuration}```"]
    for heading, claims in (("Headline claims", headlines), ("All other comparisons", others)):
        for where, table in words.claims_tables(claims, audit).items():
            parts += [f"## {heading}: {where}", _table(table)]
    if audit.claims:
        parts += [f"Verdict. {words.verdict_sentence()}", words.holm_sentence(audit)]
    if audit.alone:
        parts.append(f"No file of a baseline for: {', '.join(audit.alone)}.")
    parts += ["## Noise floor", _table(words.floors_table(audit))]
    parts.append(_table(words.repeats_table(audit)))
    for kind, heading in KINDS.items():
        if audit.of_kind(kind):
            parts += [f"## {heading}", _table(words.findings_table(audit, kind))]
    if audit.alike:
        parts.append("## One configuration under several names")
        parts += [words.held_sentence(audit), _table(words.alike_table(audit))]
    parts += ["## Names that could be tested", *words.doubtful(audit)]
    if audit.published:
        parts += ["## Published numbers", _table(words.published_table(audit))]
    parts += ["## Every file", _table(words.files_table(audit))]
    parts += ["## Made again by", f"```sh\n{command}\n```"]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(table: Table) -> str:
    if not table.rows:
        return "None."
    rule = tuple("---:" if i in table.numbers else "---" for i in range(len(table.header)))
    rows = (table.header, rule, *table.rows)
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", "\\n") for cell in r) + " |"
        for r in rows
    )
