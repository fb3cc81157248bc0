#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks a JSON document on standard input against a schema: schema.py SCHEMA [lines]
With "lines", each line is a document, and there is at least one.

Knows the keywords that the schemas use, refuses others. Beyond JSON Schema it
asks for the keys in the schema's order, because documents are promised to have
a fixed order, and for schema_version as the first one.
"""
import json
import os
import re
import sys

KNOWN = {"$schema", "$defs", "$ref", "title", "description", "type", "properties", "required",
         "additionalProperties", "items", "enum", "const", "anyOf", "oneOf", "minimum", "maximum",
         "minItems", "maxItems", "pattern"}
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}


def has_type(value, name):
    if name == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if name == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def resolve(reference, root, folder):
    path, _, fragment = reference.partition("#")
    node = load(os.path.join(folder, path)) if path else root
    top = node
    for part in fragment.strip("/").split("/"):
        node = node[part] if part else node
    return node, top


def faults(value, schema, root, folder, where):
    unknown = set(schema) - KNOWN
    if unknown:
        return [f"schema at {where}: unknown keywords {sorted(unknown)}"]
    found = []
    if "$ref" in schema:
        node, top = resolve(schema["$ref"], root, folder)
        found += faults(value, node, top, folder, where)
    if "anyOf" in schema:
        tries = [faults(value, one, root, folder, where) for one in schema["anyOf"]]
        if all(tries):
            found += [f"{where}: none of the alternatives fits"] + min(tries, key=len)
    if "oneOf" in schema:
        fitting = sum(not faults(value, one, root, folder, where) for one in schema["oneOf"])
        if fitting != 1:
            found.append(f"{where}: {fitting} of the alternatives fit, not one")
    wanted = schema.get("type", [])
    wanted = [wanted] if isinstance(wanted, str) else wanted
    if wanted and not any(has_type(value, name) for name in wanted):
        return found + [f"{where}: {value!r} is no {wanted}"]
    if "const" in schema and value != schema["const"]:
        found.append(f"{where}: {value!r} is not {schema['const']!r}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{where}: {value!r} is none of {schema['enum']}")
    if "minimum" in schema and has_type(value, "number") and value < schema["minimum"]:
        found.append(f"{where}: {value} is too small")
    if "maximum" in schema and has_type(value, "number") and value > schema["maximum"]:
        found.append(f"{where}: {value} is too large")
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        found.append(f"{where}: {value!r} does not match {schema['pattern']}")
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            found.append(f"{where}: {len(value)} items")
    if isinstance(value, dict):
        found += object_faults(value, schema, root, folder, where)
    if isinstance(value, list) and "items" in schema:
        for i, item in enumerate(value):
            found += faults(item, schema["items"], root, folder, f"{where}[{i}]")
    return found


def object_faults(value, schema, root, folder, where):
    properties = schema.get("properties", {})
    found = [f"{where}: {key} is missing" for key in schema.get("required", []) if key not in value]
    if schema.get("additionalProperties") is False:
        found += [f"{where}: {key} is not in the schema" for key in value if key not in properties]
    order = [key for key in properties if key in value]
    if [key for key in value if key in properties] != order:
        found.append(f"{where}: keys are in the order {list(value)}, not {order}")
    for key, one in properties.items():
        if key in value:
            found += faults(value[key], one, root, folder, f"{where}.{key}")
    return found


def main():
    schema = load(sys.argv[1])
    texts = list(sys.stdin) if sys.argv[2:] == ["lines"] else [sys.stdin.read()]
    found = [] if texts else ["there is no line"]
    for text in texts:
        value = json.loads(text)
        found += faults(value, schema, schema, os.path.dirname(sys.argv[1]), "$")
        if next(iter(value), None) != "schema_version":
            found.append("schema_version does not come first")
    print("\n".join(found))
    sys.exit(1 if found else 0)


main()
