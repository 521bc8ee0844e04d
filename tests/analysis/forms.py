"""Reads the printed forms of a table back to the texts that a reader finds in them."""

import re
from html.parser import HTMLParser

_TEX = {
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"\textless{}": "<",
    r"\textgreater{}": ">",
    r"\textbar{}": "|",
    r"\allowbreak{}": "",
    "$-$": "−",
    r"$\pm$": "±",
    r"$\geq$": "≥",
    r"$\leq$": "≤",
    r"$\neq$": "≠",
    r"$\approx$": "≈",
    r"$\uparrow$": "↑",
    r"$\downarrow$": "↓",
    r"$\times$": "×",
    r"$\rho$": "ρ",
}


def words(text):
    """Return the text with single spaces and without the marks that only one form has."""
    return " ".join(re.sub(r"[▲▼]", "", text).split())


def of_markdown(text):
    """Return the rows of all tables of a Markdown file, without heads, as lists of texts."""
    rows, head = [], None
    for line in text.splitlines():
        if not line.startswith("| "):
            head = None
            continue
        cells = [cell.replace("\\|", "|") for cell in re.split(r"(?<!\\) \| ", line[2:-1] + " ")]
        cells = [words(re.sub(r"\*\*|`", "", cell)) for cell in cells]
        if head is None:
            head = cells
        elif set(cells) != {"---"}:
            rows.append(cells)
    return rows


ASIDE = ("details", "svg")  # what explains a name, not a cell's text


class _Cells(HTMLParser):
    def __init__(self):
        super().__init__()
        self.rows, self.inside, self.section, self.aside = [], False, False, False

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.aside = self.aside or tag in ASIDE
        if tag == "tr":
            self.section = given.get("class") == "section"
            if not self.section:
                self.rows.append([])
        elif tag == "td":
            self.rows[-1].append("")
            self.inside = True
        elif tag == "span" and self.inside:
            self.rows[-1][-1] += " "

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "td"
        self.aside = self.aside and tag not in ASIDE

    def handle_data(self, data):
        if self.inside and not self.aside:
            self.rows[-1][-1] += data


def of_html(text):
    """Return the rows of a table's piece of a page, without heads and pictures."""
    parser = _Cells()
    parser.feed(text.replace("<td>", "<td class='bar'>"))
    return [[words(cell) for cell in row] for row in parser.rows if row]


def of_latex(text):
    """Return the rows of a longtable, without heads, and the notes by their marks."""
    body = text.partition("\\endlastfoot\n")[2].partition("\\end{longtable}")[0]
    rows = [
        [_plain(cell) for cell in re.split(r"(?<!\\)&", re.sub(r"\\\\\*?$", "", line))]
        for line in body.splitlines()
        if re.search(r"\\\\\*?$", line)
    ]
    notes = re.findall(
        r"\\textsuperscript\{([a-z]+)\} (.*?)(?=; \\textsuperscript|\.\\par)",
        text.partition("\\end{longtable}")[2],
    )
    return rows, {mark: _plain(note) for mark, note in notes}


def _plain(text):
    text = re.sub(r"\\multicolumn\{\d+\}\{(?:@\{\})?\w\}\{(.*)\}$", r"\1", text.strip())
    for tex, plain in _TEX.items():
        text = text.replace(tex, plain)
    while (found := re.sub(r"\\(?:texttt|emph|textbf)\{([^{}]*)\}", r"\1", text)) != text:
        text = found
    return words(re.sub(r"\\([_%&#${}])", r"\1", text).replace("---", "—").replace("--", "–"))
