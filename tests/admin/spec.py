"""openapi.json as the tests' judge: whether an answer is one that it describes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator

from xzgw.admin.health import OPENAPI

DOCUMENT: dict[str, Any] = json.loads(OPENAPI.read_text("utf-8"))
METHODS = ("get", "post", "delete")


def resolved(node: Any) -> Any:
    """A part of the document with all its references put in their places."""
    if isinstance(node, list):
        return [resolved(each) for each in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target: Any = DOCUMENT
        for key in node["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        return resolved(target)
    return {key: resolved(value) for key, value in node.items()}


# By path template and method: the operation, its path's parameters among its own.
OPERATIONS: dict[tuple[str, str], dict[str, Any]] = {
    (template, method): {
        **resolved(item[method]),
        "parameters": resolved([*item.get("parameters", ()), *item[method].get("parameters", ())]),
    }
    for template, item in DOCUMENT["paths"].items()
    for method in METHODS
    if method in item
}


def operation(method: str, path: str) -> dict[str, Any] | None:
    """What the document says of this method and path (with or without query)."""
    bare = path.partition("?")[0]
    for (template, documented), found in OPERATIONS.items():
        pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template))
        if documented == method.lower() and re.fullmatch(pattern, bare):
            return found
    return None


def check(found: Mapping[str, Any], status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raise AssertionError or ValidationError unless the operation has such an answer."""
    documented = found["responses"].get(str(status))
    assert documented is not None, f"{found['operationId']} has no {status}: {body!r}"
    for name, header in documented.get("headers", {}).items():
        assert name.lower() in headers, f"{name} is missing"
        schema = header["schema"]
        value = headers[name.lower()]
        fit(int(value) if schema.get("type") == "integer" else value, schema)
    content = documented.get("content")
    if content is None:
        assert body == b"", body
        return
    media_type = headers["content-type"].partition(";")[0]
    assert media_type in content, headers
    is_json = media_type.endswith(("/json", "+json"))
    text = body.decode("latin-1" if media_type.endswith("pcap") else "utf-8")
    fit(json.loads(text) if is_json else text, content[media_type]["schema"])


def fit(value: Any, schema: Mapping[str, Any]) -> None:
    """Raise ValidationError unless the value fits; formats count."""
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(value)
