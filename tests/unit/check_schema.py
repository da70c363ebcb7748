# SPDX-License-Identifier: Apache-2.0
"""Checks JSON documents against the schema, twice: as readers do, and with every name that the schema does not describe
refused, so that no report writes a name that nobody has written down. Arguments: the schema, then documents."""
import json
import sys

try:
    from jsonschema import Draft202012Validator
except ImportError:
    print("skipped: python3-jsonschema (4.0 or newer) is missing")
    sys.exit(77)


def closed(node):
    """The schema with additionalProperties refused wherever properties are listed."""
    if isinstance(node, list):
        return [closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: closed(value) for key, value in node.items()}
    if isinstance(node.get("properties"), dict) and node.get("type") == "object":
        node["additionalProperties"] = False
    return node


def main(schema_path, *documents):
    with open(schema_path, encoding="utf-8") as file:
        schema = json.load(file)
    Draft202012Validator.check_schema(schema)
    failed = not documents
    for path in documents:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        for name, validator in (("open", schema), ("closed", closed(schema))):
            for error in Draft202012Validator(validator).iter_errors(document):
                print(f"{path} ({name}): {error.json_path}: {error.message}")
                failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
