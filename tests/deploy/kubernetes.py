"""Reads Kubernetes resources as YAML and prints them as one line of JSON, after the published schemas of these versions of
Kubernetes have accepted each strictly: a field that they do not name is a mistake."""

import json
import sys

import kubernetes_validate
import yaml

VERSIONS = ["1.31", "1.34", "1.37"]

resources = [one for one in yaml.safe_load_all(sys.stdin) if one]
for one in resources:
    # Resources of others are checked by `custom.mjs`.
    if "." in one["apiVersion"].split("/")[0] and not one["apiVersion"].split("/")[0].endswith(".k8s.io"):
        continue
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(one, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            sys.exit(f"{one['kind']} {one['metadata']['name']} ({version}): {error.message} at {list(error.path)}")
print(json.dumps(resources))
