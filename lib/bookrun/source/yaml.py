"""YAML as version 1.2 has it: ``1e-3`` is a number, ``no`` and ``010`` are words.

PyYAML follows version 1.1, which takes ``1e-3`` for text, ``no`` for false, ``010`` for eight and
``1:30`` for ninety. A key given twice is an error here and not a silent loss.
"""

import re
from typing import Any

import yaml

YAMLError = yaml.YAMLError


class _Loader(yaml.SafeLoader):
    """The safe loader with the core schema of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that is given twice."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str | int | float) and key in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"{key} is given twice", problem_mark=key_node.start_mark
                )
            seen.add(key if isinstance(key, str | int | float) else id(key))
        return super().construct_mapping(node, deep=deep)


_WHOLE = "(0|[1-9][0-9]*)"
for _tag, _pattern, _first in (
    ("null", r"null|Null|NULL|~|", ["n", "N", "~", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", rf"[-+]?{_WHOLE}", list("-+0123456789")),
    ("float", rf"[-+]?(\.[0-9]+|{_WHOLE}(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.")),
):  # fmt: skip
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first
    )


def load(text: str) -> Any:
    """The document in ``text``. Raises ``yaml.YAMLError``."""
    return yaml.load(text, Loader=_Loader)
