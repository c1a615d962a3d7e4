"""A report as one HTML page that needs no other files: plots as inline SVG, tables, remarks."""

import re
from collections.abc import Sequence

from kcompress.backend import installed
from kcompress.errors import MissingExtraError
from kcompress.report.table import Table

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{ title }}</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th { border-bottom: 2px solid #888; }
th:first-child, td:first-child { text-align: left; }
svg { max-width: 100%; height: auto; }
.missed { color: #b00020; font-weight: bold; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
{% for figure in figures %}
<figure class="wide">{{ figure | safe }}</figure>
{% endfor %}
{% for table in tables %}
<h2>{{ table.title }}</h2>
<div class="wide"><table>
<tr>{% for name in table.header %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in table.rows %}
<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</table></div>
{% endfor %}
{% if remarks %}
<ul>
{% for line in remarks %}
<li{% if "NOT MET" in line %} class="missed"{% endif %}>{{ line }}</li>
{% endfor %}
</ul>
{% endif %}
</body>
</html>
"""


def page(title: str, tables: Sequence[Table], figures: Sequence[str] = (), remarks: Sequence[str] = ()) -> str:
    """The page. `figures` are SVG documents, as a plotting library writes them; all other text is escaped.

    Raises MissingExtraError without Jinja.
    """
    require()
    from jinja2 import Environment

    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(PAGE)
    inline = [_inline(figure) for figure in figures]
    return template.render(title=title, tables=tables, figures=inline, remarks=remarks) + "\n"


def require() -> None:
    """MissingExtraError if pages can't be made."""
    if not installed("jinja2"):
        raise MissingExtraError("report", "a report as .html")


def _inline(figure: str) -> str:
    """An SVG document without its XML declaration and doctype, which are not allowed inside a page."""
    return re.sub(r"^.*?(?=<svg)", "", figure, count=1, flags=re.DOTALL)
