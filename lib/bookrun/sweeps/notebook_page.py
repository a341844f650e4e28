"""An executed notebook as one page that needs nothing from elsewhere: its code and its outputs.

Of the text only the headings stay. The text is the chapter's and the same at every point; it stands
in the book, where its mathematics and its references are set.
"""

import html
import json
import re
from collections.abc import Mapping
from typing import Any

_HEADING = re.compile(r"^#{1,6} .*$", re.MULTILINE)
_FENCED = re.compile(r"^(`{3,}|~{3,}|:{3,}).*?^\1\s*$", re.MULTILINE | re.DOTALL)

_STYLE = """
body { margin: 1.5rem auto; padding: 0 1rem; max-width: 62rem; font: 15px/1.5 sans-serif; }
pre { margin: 0; overflow-x: auto; font-size: 13px; line-height: 1.4; }
.highlight { background: #f6f7f9; border: 1px solid #d5dae1; padding: .5rem .7rem; }
.output_wrapper { margin: .4rem 0 1rem; padding-left: .8rem; border-left: 3px solid #d5dae1; }
.output_wrapper svg, .output_wrapper img { max-width: 100%; height: auto; }
.output_subarea { overflow-x: auto; }
.input_area { margin-top: 1rem; }
.prompt, .anchor-link { display: none; }
table { border-collapse: collapse; }
th, td { padding: .15rem .6rem; text-align: right; border-bottom: 1px solid #d5dae1; }
.bookrun-failed { color: #a12622; }
.output_error { color: #a12622; }
"""


def page_of(notebook: Mapping[str, Any], title: str) -> str:
    """Return the page, as HTML."""
    import nbformat
    from nbconvert import HTMLExporter
    from pygments.formatters import HtmlFormatter

    content = nbformat.reads(json.dumps(notebook), as_version=4)
    for cell in content.cells:
        if cell.cell_type == "markdown":
            cell.source = "\n\n".join(_HEADING.findall(_FENCED.sub("", cell.source)))
    content.cells = [cell for cell in content.cells if cell.source]
    body, _ = HTMLExporter(template_name="basic").from_notebook_node(content)
    colours = HtmlFormatter().get_style_defs(".highlight")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title>"
        f"<style>{colours}{_STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )
