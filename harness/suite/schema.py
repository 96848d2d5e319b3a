"""The JSON Schema of a suite file, assembled from the config models that learners, datasets and protocols register."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from harness import registry
from harness.registry import Registry
from harness.suite.model import SuiteConfig
from harness.suite.specs.match import MatchConfig

ROOMS = (("learners", registry.learners), ("protocols", registry.protocols))
"""Keys of a suite that hold named entries."""

BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}

EXTERNAL = {
    "type": "string",
    "pattern": "^[^:]+:.+$",
    "description": "a class of your own, package.module:Class",
}


def suite_schema() -> dict[str, Any]:
    """A JSON Schema (draft 2020-12) that editors can complete and check suites with."""
    schema = SuiteConfig.model_json_schema()
    definitions = schema.setdefault("$defs", {})
    properties = schema["properties"]
    for room, entries in ROOMS:
        # pydantic writes patternProperties for a key with a pattern: those would take every entry before this does.
        (pattern,) = properties[room].pop("patternProperties")
        properties[room]["propertyNames"]["pattern"] = pattern
        properties[room]["additionalProperties"] = _one_of(entries, definitions)
    dataset = {
        "anyOf": [
            {"enum": list(registry.datasets)},
            {"required": ["kind"], **_one_of(registry.datasets, definitions)},
        ]
    }
    for name in registry.protocols:
        definitions[f"protocol {name}"]["properties"]["dataset"] |= dataset
    kinds = {
        room: {
            "type": "object",
            "properties": {name: _partial(entries, name, definitions) for name in entries},
            "additionalProperties": False,
        }
        for room, entries in ROOMS
    }
    properties["defaults"] = {
        "type": "object",
        "properties": kinds,
        "additionalProperties": False,
        "description": "keys laid under every entry of a kind",
    }
    properties["extends"] = {
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        "description": "suite files that this one is laid over",
    }
    # What a suite extends may bring the keys that it does not have itself, and the kinds of its entries.
    schema.pop("required", None)
    has_kind = {"additionalProperties": {"required": ["kind"]}}
    schema |= {
        "if": {"not": {"required": ["extends"]}},
        "then": {"properties": {room: has_kind for room, _ in ROOMS}},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "harness suite",
    }


def _one_of(entries: Registry, definitions: dict[str, Any]) -> dict[str, Any]:
    """An entry of any kind; the keys of one at ``module:Class`` are not known here."""
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
    """The keys of one kind, none required: those that an entry does not have may come from ``defaults``."""
    model = entries[name].Config.model_json_schema()
    definitions |= model.pop("$defs", {})
    model.pop("required", None)
    beside = {"kind": {"const": name, "description": entries.describe(name)}}
    if entries is registry.learners:
        match = MatchConfig.model_json_schema()
        definitions |= match.pop("$defs", {})
        beside["match"] = {
            **match,
            "description": "choose a key so that it is as sparse or as accurate as it should be",
        }
    return {**model, "title": name, "properties": {**beside, **model.get("properties", {})}}


def keys_of(config: type[BaseModel]) -> list[dict[str, str]]:
    """The keys of an entry as rows of words: key, default, allowed, description."""
    schema = config.model_json_schema()
    return [
        {
            "key": name,
            "default": _value(each["default"]) if "default" in each else "must be given",
            "allowed": _allowed(each, schema.get("$defs", {})),
            "description": each.get("description", ""),
        }
        for name, each in schema.get("properties", {}).items()
    ]


def _allowed(each: dict[str, Any], definitions: dict[str, Any]) -> str:
    """What a JSON Schema allows, in a few words."""
    if "$ref" in each:
        return _allowed(definitions[each["$ref"].rpartition("/")[2]], definitions)
    if "enum" in each or "const" in each:
        return " | ".join(map(_value, each.get("enum", [each.get("const")])))
    if choices := each.get("anyOf", each.get("oneOf")):
        return " | ".join(dict.fromkeys(_allowed(choice, definitions) for choice in choices))
    if each.get("type") == "array":
        items = _allowed(each["items"], definitions) if "items" in each else ""
        return f"[{items}, ...]"
    words = {"object": "{...}", "boolean": "true | false", "null": "null"}.get(
        each.get("type", ""), each.get("type", "any")
    )
    bounds = [f"{sign} {_value(each[word])}" for word, sign in BOUNDS.items() if word in each]
    return " ".join([words, ", ".join(bounds)]).strip()


def _value(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)


def _partial(entries: Registry, name: str, definitions: dict[str, Any]) -> dict[str, Any]:
    full = definitions[f"{entries.what} {name}"]
    own = {key: value for key, value in full["properties"].items() if key not in ("kind", "match")}
    return {"type": "object", "properties": own, "additionalProperties": False}
