"""The site that `make docs` builds of these pages into build/site: see index.md for its navigation.

The pages are plain Markdown and read well without it; here each link and each anchor is resolved,
and whatever cannot be is an error, as is a page that the navigation does not list.
"""

from pygments.lexers.special import TextLexer
from sphinx.highlighting import lexers

project = "auditlog"
html_title = "auditlog"
html_theme = "furo"
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
html_baseurl = ""
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
nitpicky = True
myst_heading_anchors = 6  # every heading has the anchor that a forge gives it
myst_enable_extensions = ["strikethrough"]
suppress_warnings = ["misc.highlighting_failure"]  # JSON with an ellipsis in it is meant so
lexers["mermaid"] = TextLexer()  # a forge draws it


def _commands(app, name: str, source: list[str]) -> None:  # noqa: ANN001, ARG001  (as Sphinx calls it)
    """Put every command's help where cli.md says so: it cannot grow old."""
    if name == "cli":
        from auditctl.manual import markdown, pages  # noqa: PLC0415  (only for this page)

        source[0] = source[0].replace("<!-- commands -->", markdown(pages()))


def setup(app) -> None:  # noqa: ANN001  (as Sphinx calls it)
    app.connect("source-read", _commands)
