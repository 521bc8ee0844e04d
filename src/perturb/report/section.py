"""The results section as LaTeX: compiles alone, or inside a paper by `\\input`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from perturb.analysis.formats import escape, prose
from perturb.analysis.ranking import caption
from perturb.files import write_text
from perturb.report.gradients import GradientsSection
from perturb.report.material import Chapter, Picture, Ranking
from perturb.report.results import Results
from perturb.report.sentences import findings, what_was_run

_HEAD = r"""% Made by perturb; edit nothing here, rerun instead.
% Alone: latexmk -pdf section.tex. In a paper: load booktabs, longtable, array, graphicx, then
%   \newcommand{\perturbresults}{path/to/results}\input{\perturbresults/section}
\makeatletter
\ifx\@nodocument\relax
  \def\perturbend{\endinput}
\else
  \documentclass[a4paper,10pt]{article}
  \usepackage[T1]{fontenc}
  \IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
  \usepackage[utf8]{inputenc}
  \usepackage[margin=18mm]{geometry}
  \usepackage{array,booktabs,graphicx,longtable}
  \def\perturbend{\end{document}}
  \begin{document}
\fi
\makeatother
\providecommand{\perturbresults}{.}
"""


def write(results: Results, path: str | Path) -> None:
    """Write the results section to `path`."""
    write_text(path, render(results, Path(path).parent))


def render(results: Results, folder: Path) -> str:
    """Return the results section; tables and figures are named relative to `folder`."""
    parts = [
        _HEAD,
        r"\section{Results}",
        "",
        *([_ranking(results.ranking, results.chapters, folder)] if results.ranking else []),
        *(_chapter(chapter, folder) for chapter in results.chapters),
        *(_gradients(study, folder) for study in results.studies),
        r"\perturbend",
        "",
    ]
    return "\n".join(parts)


def _ranking(ranking: Ranking, chapters: Sequence[Chapter], folder: Path) -> str:
    study = chapters[0].table.plan["study"]
    lines = [
        rf"\subsection{{All data sets}}\label{{sec:{study}-ranking}}",
        prose(caption(ranking.frame)),
        rf"\input{{\perturbresults/tables/{study}_ranking.tex}}",
        _figure(ranking.picture, folder, study),
    ]
    return "\n".join(lines)


def _chapter(chapter: Chapter, folder: Path) -> str:
    table = chapter.table
    label = f"{table.plan['study']}-{chapter.dataset}"
    warnings = [rf"\item {prose(warning)}" for warning in table.warnings]
    lines = [
        rf"\subsection{{{escape(chapter.dataset)}}}\label{{sec:{label}}}",
        prose(what_was_run(table)),
    ]
    if warnings:
        lines += [r"\paragraph{What limits these numbers}", r"\begin{itemize}", *warnings]
        lines.append(r"\end{itemize}")
    lines += [r"\paragraph{Findings}", *(prose(text) for text in findings(table))]
    lines += [rf"Table~\ref{{tab:{label}}} has all methods.", ""]
    lines += [rf"\input{{\perturbresults/tables/{chapter.dataset}.tex}}", ""]
    if chapter.landscapes is not None:
        lines += [rf"\input{{\perturbresults/tables/landscape_{chapter.dataset}.tex}}", ""]
    lines += [_figure(picture, folder, label) for picture in chapter.pictures if picture.pdf]
    return "\n".join([*lines, r"\clearpage", ""])


def _gradients(study: GradientsSection, folder: Path) -> str:
    ours = [f"{claim}: {verdict}. Ours: {numbers}." for claim, verdict, numbers, _ in study.claims]
    smoke = ["Smoke run, not a result of the study."] if study.smoke else []
    lines = [
        rf"\subsection{{{_tex(study.heading)}}}\label{{sec:{study.name}}}",
        *(_tex(text) for text in [*smoke, study.what]),
        r"\paragraph{What the lab log says, and what comes out}",
        r"\begin{itemize}",
        *(rf"\item {_tex(text)}" for text in ours),
        r"\end{itemize}",
        rf"\input{{\perturbresults/tables/{study.name}.tex}}",
        "",
        *(_figure(picture, folder, study.name) for picture in study.pictures if picture.pdf),
    ]
    return "\n".join([*lines, r"\clearpage", ""])


def _tex(text: str) -> str:
    return escape(text).replace("≠", r"$\neq$")


def _figure(picture: Picture, folder: Path, label: str) -> str:
    path = Path(os.path.relpath(picture.pdf, folder)).as_posix()
    return "\n".join(
        [
            r"\begin{figure}[htbp]\centering",
            rf"\includegraphics[width=\linewidth,height=0.82\textheight,keepaspectratio]"
            rf"{{\perturbresults/{path}}}",
            rf"\caption{{\textbf{{{escape(picture.title)}.}} {prose(picture.caption)}}}",
            rf"\label{{fig:{label}-{picture.name.replace('_', '-')}}}",
            r"\end{figure}",
            "",
        ]
    )
