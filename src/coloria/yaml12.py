"""YAML as its version 1.2 says: what recipes are written in.

PyYAML reads version 1.1, where ``1e-3`` is text, ``off`` is false and of two equal keys the last
one counts. Here ``1e-3`` is a number, ``off`` is text and a key that stands twice is a mistake.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from coloria.errors import ConfigError

__all__ = ["dump_yaml", "parse_yaml"]

_MERGE = "tag:yaml.org,2002:merge"
_SCALARS = {
    "tag:yaml.org,2002:bool": r"true|True|TRUE|false|False|FALSE",
    "tag:yaml.org,2002:int": r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
    "tag:yaml.org,2002:float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    "tag:yaml.org,2002:null": r"~|null|Null|NULL|",
    _MERGE: r"<<",
}
"""What plain words mean: the core schema (YAML 1.2.2, section 10.3.2), and merge keys."""


class _Loader(yaml.SafeLoader):
    """Reads plain data only."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - none of version 1.1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                if key.value in seen:
                    problem = f"the key {key.value!r} stands twice"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Writes what :class:`_Loader` reads back as the same."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - none of version 1.1

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    """Quote the line breaks that PyYAML knows and would write as spaces."""
    style = '"' if {"\x85", "\u2028", "\u2029"} & set(value) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style)


_Dumper.add_representer(str, _text)
for _class in (_Loader, _Dumper):
    for _tag, _pattern in _SCALARS.items():
        _class.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), None)


def _whole_number(_: _Loader, node: yaml.ScalarNode) -> int:
    return int(node.value, {"0o": 8, "0x": 16}.get(node.value[:2], 10))


_Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)


def parse_yaml(text: str, where: str = "YAML") -> Any:
    """Read a YAML 1.2 text into plain Python values.

    Args:
        text: the YAML.
        where: what to call it in a message.

    Raises:
        ConfigError: not YAML, a key that stands twice, or something that is not plain data.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a subclass of SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{where} cannot be read: {_words(error)}") from error


def _words(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"line {mark.line + 1}: {problem}" if mark else problem


def dump_yaml(data: Any) -> str:
    """Write plain values as YAML that :func:`parse_yaml` reads back as the same.

    Keys keep their order; lists and groups of single values stand on one line.
    """
    return yaml.dump(
        data,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=100,
    )
