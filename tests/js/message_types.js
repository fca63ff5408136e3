/**
 * TypeScript types of the live protocol's messages, written from the server's schema:
 * `node tests/js/message_types.js` writes types/live_messages.d.ts.
 */

import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";

const SCHEMA = new URL("../../webapp/live/messages.schema.json", import.meta.url);
export const TYPES = new URL("../../types/live_messages.d.ts", import.meta.url);
const HEAD = `/**
 * The messages of the live protocol (docs/live-protocol.md), from webapp/live/messages.schema.json.
 * Generated: node tests/js/message_types.js
 */
`;

/**
 * @returns {string} the whole file
 * @throws {Error} for a construct of JSON Schema that the messages do not use yet
 */
export function messageTypes() {
  const { $defs } = JSON.parse(readFileSync(SCHEMA, "utf8"));
  return HEAD + Object.entries($defs).map(declaration).join("");
}

/** @param {[string, any]} definition @returns {string} */
function declaration([name, { description, ...schema }]) {
  const lines = (description ?? "").split("\n").map((line) => ` * ${line}`.trimEnd());
  const comment = description ? `/**\n${lines.join("\n")}\n */\n` : "";
  return `\n${comment}export type ${name} = ${typeOf(schema)};\n`;
}

/** @param {any} schema @returns {string} */
function typeOf(schema) {
  if (schema.$ref) return schema.$ref.replace("#/$defs/", "");
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const union = schema.anyOf ?? schema.oneOf;
  if (union) return union.map(typeOf).join(" | ");
  switch (schema.type) {
    case "integer":
      return "number";
    case "number":
    case "string":
    case "boolean":
    case "null":
      return schema.type;
    case "array":
      if (schema.prefixItems) return `[${schema.prefixItems.map(typeOf).join(", ")}]`;
      return `Array<${typeOf(schema.items)}>`;
    case "object":
      return objectType(schema);
  }
  throw new Error(`no type for ${JSON.stringify(schema)}`);
}

/** @param {any} schema @returns {string} */
function objectType({ properties, required = [], additionalProperties }) {
  // An object with any fields, such as the numbers of a run's summary.
  if (!properties && additionalProperties) return "Record<string, any>";
  const fields = Object.entries(properties).map(
    ([name, schema]) => `  ${name}${required.includes(name) ? "" : "?"}: ${typeOf(schema)};\n`,
  );
  return `{\n${fields.join("")}}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(TYPES, messageTypes());
