/** A chart as a table: every drawn point, with its interval or its minimum and maximum. */

import { formatter } from "../format.js";
import { describe } from "./legend.js";
import { PER_LINE } from "./columns.js";

/**
 * @param {HTMLElement} holder
 * @param {import("./columns.js").Declaration} declaration
 * @param {string} axis
 * @param {(number | null | undefined)[][]} data
 */
export function fillTable(holder, declaration, axis, data) {
  const table = document.createElement("table");
  table.className = "table compact";
  table.createCaption().textContent = `${declaration.title}, every drawn point`;
  const head = table.createTHead().insertRow();
  for (const text of [axis, ...declaration.lines.map((line) => line.label)])
    head.append(cell("th", text));
  const body = table.createTBody();
  data[0].forEach((x, index) => {
    const row = body.insertRow();
    row.append(cell("td", Number(x).toLocaleString("en-GB")));
    declaration.lines.forEach((line, i) => {
      const hasValue = data[1 + i * PER_LINE][index] != null;
      row.append(
        cell(
          "td",
          hasValue ? describe(data, i, index, formatter(line.format ?? declaration.format)) : "",
        ),
      );
    });
  });
  holder.replaceChildren(table);
}

/** @param {"th" | "td"} tag @param {string} text */
function cell(tag, text) {
  const element = document.createElement(tag);
  element.className = "number";
  element.textContent = text;
  if (tag === "th") element.setAttribute("scope", "col");
  return element;
}
