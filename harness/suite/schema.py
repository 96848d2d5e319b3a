"""The JSON Schema of a suite file, assembled from the config models of all registered kinds."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from harness import registry
from harness.registry import Registry
from harness.suite.model import SuiteConfig
from harness.suite.specs.match import MatchConfig
from harness.suite.tree import SECTIONS

BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
"""Keyword of JSON Schema -> sign."""

EXTERNAL = {
    "type": "string",
    "pattern": "^[^:]+:.+$",
    "description": "a class of your own, package.module:Class",
}


def suite_schema() -> dict[str, Any]:
    """Build a JSON Schema (draft 2020-12) that editors complete and check suites with."""
    schema = SuiteConfig.model_json_schema()
    definitions = schema.setdefault("$defs", {})
    properties = schema["properties"]
    for section, entries in SECTIONS.items():
        of_section = properties[section]
        # pydantic puts entries under patternProperties, which would match before these.
        (pattern,) = of_section.pop("patternProperties")
        of_section["propertyNames"]["pattern"] = pattern
        of_section["additionalProperties"] = _one_of(entries, definitions)
    dataset = _named(registry.datasets, definitions)
    definitions["front"] = _named(registry.fronts, definitions)
    for name in registry.protocols:
        definitions[f"protocol {name}"]["properties"]["dataset"] |= dataset
    properties["defaults"] = _defaults(definitions)
    properties["extends"] = {
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        "description": "suite files that this one is laid over",
    }
    # A suite that extends another may inherit required keys, and the kinds of its entries.
    schema.pop("required", None)
    has_kind = {"additionalProperties": {"required": ["kind"]}}
    schema["if"] = {"not": {"required": ["extends"]}}
    schema["then"] = {"properties": {section: has_kind for section in SECTIONS}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "harness suite",
    }


def _named(entries: Registry, definitions: dict[str, Any]) -> dict[str, Any]:
    """The name of an entry, or a mapping with its kind."""
    mapping = {"required": ["kind"], **_one_of(entries, definitions)}
    return {"anyOf": [{"enum": list(entries)}, mapping]}


def _defaults(definitions: dict[str, Any]) -> dict[str, Any]:
    """The key ``defaults``: section -> kind -> keys."""
    sections = {}
    for section, entries in SECTIONS.items():
        sections[section] = {
            "type": "object",
            "properties": {name: _partial(entries, name, definitions) for name in entries},
            "additionalProperties": False,
        }
    return {
        "type": "object",
        "properties": sections,
        "additionalProperties": False,
        "description": "keys laid under every entry of a kind",
    }


def _one_of(entries: Registry, definitions: dict[str, Any]) -> dict[str, Any]:
    """An entry of any kind; the keys of a class at ``module:Class`` are unknown."""
    for name in entries:
        definitions[f"{entries.what} {name}"] = _entry(entries, name, definitions)
    return {
        "type": "object",
        "properties": {"kind": {"anyOf": [{"enum": list(entries)}, EXTERNAL]}},
        "allOf": [
            {
                "if": {"properties": {"kind": {"const": name}}, "required": ["kind"]},
                "then": {"$ref": f"#/$defs/{entries.what} {name}".replace(" ", "%20")},
            }
            for name in entries
        ],
    }


def _entry(entries: Registry, name: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """The keys of one kind; none is required, as ``defaults`` may supply it."""
    # Two kinds may have models of one name.
    own = f"{entries.what}-{name}"
    model = entries[name].Config.model_json_schema(ref_template=f"#/$defs/{own}-{{model}}")
    definitions |= {f"{own}-{key}": value for key, value in model.pop("$defs", {}).items()}
    model.pop("required", None)
    beside = {"kind": {"const": name, "description": entries.describe(name)}}
    if entries is registry.learners:
        match = MatchConfig.model_json_schema()
        definitions |= match.pop("$defs", {})
        beside["match"] = {
            **match,
            "description": "choose a key so that it is as sparse or as accurate as it should be",
        }
        beside["front"] = {
            "$ref": "#/$defs/front",
            "description": "a fixed transformation of the image that the learner sees it through",
        }
    return {**model, "title": name, "properties": {**beside, **model.get("properties", {})}}


def keys_of(config: type[BaseModel]) -> list[dict[str, str]]:
    """The keys of an entry as rows of words: key, default, allowed, description."""
    schema = config.model_json_schema()
    definitions = schema.get("$defs", {})
    rows = []
    for name, each in schema.get("properties", {}).items():
        if each.get("deprecated"):
            continue
        default = _value(each["default"]) if "default" in each else "must be given"
        row = {
            "key": name,
            "default": default,
            "allowed": _allowed(each, definitions),
            "description": each.get("description", ""),
        }
        rows.append(row)
    return rows


def _allowed(each: dict[str, Any], definitions: dict[str, Any]) -> str:
    """What a JSON Schema allows, in a few words."""
    if "$ref" in each:
        return _allowed(definitions[each["$ref"].rpartition("/")[2]], definitions)
    if "enum" in each or "const" in each:
        values = each.get("enum", [each.get("const")])
        return " | ".join(map(_value, values))
    choices = each.get("anyOf", each.get("oneOf"))
    if choices:
        words = [_allowed(choice, definitions) for choice in choices]
        return " | ".join(dict.fromkeys(words))
    if each.get("type") == "array":
        items = _allowed(each["items"], definitions) if "items" in each else ""
        return f"[{items}, ...]"
    kind = each.get("type", "any")
    plain = {"object": "{...}", "boolean": "true | false", "null": "null"}.get(kind, kind)
    bounds = [f"{sign} {_value(each[word])}" for word, sign in BOUNDS.items() if word in each]
    return f"{plain} {', '.join(bounds)}".strip()


def _value(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)


def _partial(entries: Registry, name: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """Some keys of a kind, without those that only an entry has."""
    full = definitions[f"{entries.what} {name}"]
    own = {
        key: value
        for key, value in full["properties"].items()
        if key not in ("kind", "match", "front")
    }
    return {"type": "object", "properties": own, "additionalProperties": False}
