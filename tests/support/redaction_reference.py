"""The table of redaction rules as docs/redaction.md shows it.

python -m tests.support.redaction_reference
"""

from __future__ import annotations

from auditlog.redaction.rules import CLASSES, OPTIONAL_CLASSES, table

__all__ = ["rules_table"]


def rules_table() -> str:
    """The tables of classes and rules, in Markdown."""
    lines = ["| class | what it looks at | by default |", "|---|---|---|"]
    for name, text in CLASSES.items():
        state = "off" if name in OPTIONAL_CLASSES else "on"
        lines.append(f"| `{name}` | {text.removesuffix(' (off by default)')} | {state} |")
    lines += ["", "| rule | finds | in the record |", "|---|---|---|"]
    for rule in table():
        shown = "fingerprint" if rule.derivative else f"`[redacted:{rule.name}]`"
        if rule.name == "ip":
            shown = "the address of its network"
        lines.append(f"| `{rule.name}` | {rule.finds} | {shown} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(rules_table(), end="")
