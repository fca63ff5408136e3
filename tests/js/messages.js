/** The definition of the live socket's messages, as the server writes it down: each call throws for a message that breaks it. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import Ajv from "ajv/dist/2020.js";

export const schema = JSON.parse(readFileSync(new URL("../../webapp/live/messages.schema.json", import.meta.url), "utf8"));
const ajv = new Ajv({ strict: false, validateFormats: false });
ajv.addSchema(schema, "live");

/** @param {string} side @returns {(message: unknown) => void} */
function checker(side) {
  const holds = ajv.getSchema(`live#/$defs/${side}`);
  return (message) => assert.ok(holds(message), `${JSON.stringify(message).slice(0, 300)}: ${ajv.errorsText(holds.errors)}`);
}

export const fromClient = checker("ClientMessage");
export const fromServer = checker("ServerMessage");
