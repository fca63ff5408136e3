/**
 * Validators for the messages of the live protocol, by the server's schema: each throws for an
 * invalid message.
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import Ajv from "ajv/dist/2020.js";

const schema = JSON.parse(
  readFileSync(new URL("../../webapp/live/messages.schema.json", import.meta.url), "utf8"),
);
const ajv = new Ajv({ strict: false, validateFormats: false });
ajv.addSchema(schema, "live");

/** @param {string} side @returns {(message: unknown) => void} */
function checker(side) {
  const validate = ajv.getSchema(`live#/$defs/${side}`);
  return (message) =>
    assert.ok(
      validate(message),
      `${JSON.stringify(message).slice(0, 300)}: ${ajv.errorsText(validate.errors)}`,
    );
}

export const fromClient = checker("ClientMessage");
export const fromServer = checker("ServerMessage");
