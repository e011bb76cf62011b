// Our documents open in the JavaScript Automerge, and what it writes opens here; our bundles hold to HL7's JSON schema of R4.
// Usage: node cases.mjs PATH-OF-THE-EXAMPLE `cases`

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as Automerge from "@automerge/automerge";
import FhirValidator from "@asymmetrik/fhir-json-schema-validator";

const cases = process.argv[2];
const folder = mkdtempSync(join(tmpdir(), "kijiti-javascript-"));
const read = (file) =>
  new Map(
    execFileSync(cases, ["read", file], { encoding: "utf8" })
      .trim()
      .split("\n")
      .map((line) => [line.split(" ")[0], line.split(" ").slice(1).join(" ")]),
  );

execFileSync(cases, ["write", folder]);
const path = join(folder, "case.automerge");
const ours = Automerge.load(new Uint8Array(readFileSync(path)));
const entries = Object.entries(ours).filter(([key]) => key !== "schema");
assert.equal(ours.schema, 1);
const findings = entries.filter(([, entry]) => `${entry.kind}` === "finding");
const temperatures = findings.filter(([, entry]) => `${entry.name}` === "temperature");
assert.equal(temperatures.length, 3);
assert.deepEqual(temperatures.map(([, entry]) => entry.value).sort(), [36.9, 38.6, 38.8]);
const spo2 = findings.find(([, entry]) => `${entry.name}` === "spo2");
assert.equal(spo2[1].value, null, "unknown is null, not false");
console.log(`JavaScript reads our case: ${entries.length} entries`);

// A colleague's program in JavaScript adds a word, and a kind of entry that we do not know.
const [, template] = temperatures[0];
const theirs = Automerge.change(Automerge.clone(ours, { actor: "0f".repeat(16) }), (doc) => {
  const key = (order, n) => `${order.toString(16).padStart(16, "0")}-${"0f".repeat(16)}-${n}`;
  doc[key(9, 0)] = {
    kind: "finding", name: "wheeze", value: true, order: 9, by: template.by, at: new Date(1795554999000),
  };
  doc[key(9, 1)] = { kind: "hologram", order: 9, by: template.by, at: new Date(1795554999000) };
});
const back = join(folder, "theirs.automerge");
writeFileSync(back, Automerge.save(theirs));
const before = read(path);
const after = read(back);
assert.equal(after.get("wheeze"), "1 false", "a word written in JavaScript is read here");
assert.equal(Number(after.get("entries")), Number(before.get("entries")) + 1);
assert.equal(after.get("unknown"), "1", "what we do not know is counted and kept");
assert.equal(after.get("temperature"), "3 true", "and the question stands");
console.log("we read what JavaScript wrote");

const bundle = JSON.parse(readFileSync(join(folder, "case.fhir.json"), "utf8"));
const validator = new FhirValidator();
const complain = (resource) => {
  const errors = validator.validate(resource);
  assert.deepEqual(errors, [], `${resource.resourceType} ${resource.id}: ${JSON.stringify(errors).slice(0, 2000)}`);
};
complain(bundle);
bundle.entry.forEach(({ resource }) => complain(resource));
// The schema leaves some rules to prose: every reference leads somewhere, and every fullUrl is its own.
const urls = bundle.entry.map(({ fullUrl }) => fullUrl);
assert.equal(new Set(urls).size, urls.length);
JSON.stringify(bundle, (key, value) => {
  if (key === "reference") assert.ok(urls.includes(value), `${value} leads nowhere`);
  return value;
});
// And a schema that finds nothing wrong with anything would prove nothing.
const spoiled = structuredClone(bundle.entry.find(({ resource }) => resource.resourceType === "Observation").resource);
spoiled.status = 7;
assert.notDeepEqual(validator.validate(spoiled), []);
console.log(`${bundle.entry.length} resources hold to the JSON schema of FHIR R4`);
