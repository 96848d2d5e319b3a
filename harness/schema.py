"""The JSON Schema of a suite file, assembled from the config models that learners, datasets and protocols register."""

from __future__ import annotations

from typing import Any

from harness import registry
from harness.matching import MatchConfig
from harness.registry import Registry
from harness.suite import SuiteConfig

ROOMS = (("learners", registry.learners), ("protocols", registry.protocols))
"""Keys of a suite that hold named entries."""

EXTERNAL = {"type": "string", "pattern": "^[^:]+:.+$", "description": "a class of your own, package.module:Class"}


def suite_schema() -> dict[str, Any]:
    """A JSON Schema (draft 2020-12) that editors can complete and check suites with."""
    schema = SuiteConfig.model_json_schema()
    definitions = schema.setdefault("$defs", {})
    properties = schema["properties"]
    for room, entries in ROOMS:
        # pydantic writes patternProperties for a key with a pattern: those would take every entry before this does.
        pattern, = properties[room].pop("patternProperties")
        properties[room]["propertyNames"]["pattern"] = pattern
        properties[room]["additionalProperties"] = _one_of(entries, definitions)
    dataset = {"anyOf": [{"enum": list(registry.datasets)}, {"required": ["kind"], **_one_of(registry.datasets, definitions)}]}
    for name in registry.protocols:
        definitions[f"protocol {name}"]["properties"]["dataset"] |= dataset
    kinds = {room: {"type": "object", "properties": {name: _partial(entries, name, definitions) for name in entries},
                    "additionalProperties": False}
             for room, entries in ROOMS}
    properties["defaults"] = {"type": "object", "properties": kinds, "additionalProperties": False,
                              "description": "keys laid under every entry of a kind"}
    properties["extends"] = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
                             "description": "suite files that this one is laid over"}
    # What a suite extends may bring the keys that it does not have itself, and the kinds of its entries.
    schema.pop("required", None)
    has_kind = {"additionalProperties": {"required": ["kind"]}}
    schema |= {"if": {"not": {"required": ["extends"]}}, "then": {"properties": {room: has_kind for room, _ in ROOMS}}}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "harness suite"}


def _one_of(entries: Registry, definitions: dict[str, Any]) -> dict[str, Any]:
    """An entry of any kind; the keys of one at ``module:Class`` are not known here."""
    for name in entries:
        definitions[f"{entries.what} {name}"] = _entry(entries, name, definitions)
    return {"type": "object", "properties": {"kind": {"anyOf": [{"enum": list(entries)}, EXTERNAL]}},
            "allOf": [{"if": {"properties": {"kind": {"const": name}}, "required": ["kind"]},
                       "then": {"$ref": f"#/$defs/{entries.what} {name}".replace(" ", "%20")}} for name in entries]}


def _entry(entries: Registry, name: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """The keys of one kind, none required: those that an entry does not have may come from ``defaults``."""
    model = entries[name].Config.model_json_schema()
    definitions |= model.pop("$defs", {})
    model.pop("required", None)
    beside = {"kind": {"const": name, "description": entries.describe(name)}}
    if entries is registry.learners:
        match = MatchConfig.model_json_schema()
        definitions |= match.pop("$defs", {})
        beside["match"] = {**match, "description": "choose a key so that it is as sparse or as accurate as it should be"}
    return {**model, "title": name, "properties": {**beside, **model.get("properties", {})}}


def _partial(entries: Registry, name: str, definitions: dict[str, Any]) -> dict[str, Any]:
    full = definitions[f"{entries.what} {name}"]
    own = {key: value for key, value in full["properties"].items() if key not in ("kind", "match")}
    return {"type": "object", "properties": own, "additionalProperties": False}
