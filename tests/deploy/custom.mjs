// Reads Kubernetes resources as one JSON array and checks those of Istio and of the Prometheus Operator against models that
// were made from their published definitions.

import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const packages = `${process.env.HOLDPOINT_PACKAGES}/node_modules/@kubernetes-models`;
const from = { 'security.istio.io': 'istio', 'monitoring.coreos.com': 'prometheus-operator' };
let checked = 0;
for (const resource of JSON.parse(readFileSync(0, 'utf8'))) {
    const [group, version] = resource.apiVersion.split('/');
    if (!(group in from)) continue;
    // By its file: what a package exports by name is read by its own kind of import alone.
    const file = `${packages}/${from[group]}/${group}/${version}/${resource.kind}.js`;
    const Model = (await import(pathToFileURL(file).href))[resource.kind];
    new Model(resource).validate();
    checked += 1;
}
console.log(checked);
