"""The results section as LaTeX: compiles alone, or inside a paper by `\\input`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from perturb.analysis.printers import prose
from perturb.files import write_text
from perturb.report.reading import Picture, Section, headings, sections
from perturb.study import Chapter

_HEAD = r"""% Made by perturb; edit nothing here, rerun instead.
% Alone: latexmk -pdf section.tex. In a paper: load booktabs, longtable, array, graphicx, then
%   \newcommand{\perturbresults}{path/to/results}\input{\perturbresults/section}
\makeatletter
\ifx\@nodocument\relax
  \def\perturbend{\endinput}
\else
  \documentclass[a4paper,10pt]{article}
  % Without Latin Modern the T1 fonts of a small installation are bitmaps.
  \IfFileExists{lmodern.sty}{\usepackage[T1]{fontenc}\usepackage{lmodern}}{}
  \usepackage[utf8]{inputenc}
  \usepackage[margin=18mm]{geometry}
  \usepackage{array,booktabs,graphicx,longtable}
  \def\perturbend{\end{document}}
  \begin{document}
\fi
\makeatother
\providecommand{\perturbresults}{.}
% A figure as wide as the text. Two of usual height, with their captions, share a page.
\providecommand{\perturbfigure}[1]{%
  \sbox0{\includegraphics[width=\linewidth]{#1}}%
  \ifdim\ht0>0.5\textheight
    \includegraphics[width=\linewidth,height=0.82\textheight,keepaspectratio]{#1}%
  \else
    \includegraphics[width=\linewidth,height=0.38\textheight,keepaspectratio]{#1}%
  \fi}
"""


def write(chapters: Sequence[Chapter], path: str | Path) -> None:
    """Write the results section of the results that `path` lies in."""
    write_text(path, render(chapters, Path(path).parent))


def render(chapters: Sequence[Chapter], results: Path, folder: Path | None = None) -> str:
    """Return the results section of the chapters that are asked for, in their order.

    Tables and figures below `results` are named relative to `folder`, by default `results`.
    """
    found = sections(chapters, results)
    parts = [_HEAD, r"\section{Results}", ""]
    parts += [_chapter(section, folder or results) for section in found]
    return "\n".join([*parts, r"\perturbend", ""])


def _chapter(section: Section, folder: Path) -> str:
    chapter, words = section.chapter, section.words
    smoke = ["Smoke run, not a result of the study."] if _unsaid(section) else []
    heading, beside = headings(chapter, words.heading)
    lines = [
        rf"\subsection{{{prose(heading)}}}\label{{sec:{chapter.name}}}",
        *([rf"\emph{{{prose(beside)}.}}"] if heading != words.heading else []),
        *(prose(text) for text in [*smoke, words.what]),
    ]
    if words.warnings:
        lines += [r"\paragraph{What limits these numbers}", *_items(words.warnings)]
    if words.findings:
        lines += [r"\paragraph{Findings}", *(prose(text) for text in words.findings)]
    stems = [chapter.stem(part) for part in chapter.tables]
    if stems:
        lines += [rf"Table~\ref{{tab:{stems[0]}}} has all numbers.", ""]
    for part in section.parts:
        if part.kind == "table":
            path = _relative(section.table(part, "tex"), folder)
            lines += [rf"\input{{\perturbresults/{path}}}", ""]
        else:
            lines.append(_figure(section.picture(part), folder, chapter.name))
    return "\n".join([*lines, r"\clearpage", ""])


def _unsaid(section: Section) -> bool:
    """Return whether a smoke run's words do not say themselves that it is one."""
    return section.chapter.scale == "smoke" and not section.words.what.startswith("Smoke run")


def _items(texts: Sequence[str]) -> list[str]:
    items = [rf"\item {prose(text)}" for text in texts]
    return [r"\begin{itemize}", *items, r"\end{itemize}"]


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _figure(picture: Picture, folder: Path, label: str) -> str:
    return "\n".join(
        [
            r"\begin{figure}[htbp]\centering",
            rf"\perturbfigure{{\perturbresults/{_relative(picture.pdf, folder)}}}",
            rf"\caption{{\textbf{{{prose(picture.title)}.}} {prose(picture.caption)}}}",
            rf"\label{{fig:{label}-{picture.name.replace('_', '-')}}}",
            r"\end{figure}",
            "",
        ]
    )
