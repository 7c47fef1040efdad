// What attackers sent is shown as text: no script of theirs runs, no element of theirs exists, the order of the text around
// theirs stays, and the layout holds on a narrow screen.

import { url, withPage } from "./browser.mjs";
import { fits } from "./views-checks.mjs";
import { crawl } from "./views-crawl.mjs";

/** The texts that each webhook of theirs has as its event type and elsewhere. */
const TEXTS = JSON.parse(process.env.PAGE_TEXTS);
const FOLDER = process.env.PAGE_SCREENSHOTS;

/** The most bytes of a view, whatever it shows, unless all of something is asked for; and the most of that. */
const MOST_BYTES = 1_000_000;
const MOST_OF_ALL_BYTES = 8_000_000;

/** How long a view may take until it is shown. */
const MOST_MS = 5_000;

/** What is shown by its code. */
const HIDDEN = /[\p{Cc}\p{Cf}\u115f\u1160\u2028\u2029\u3164\uffa0]+/u;

const failures = [];
const seen = new Set(); // texts that were shown whole
let differs = false; // whether a view showed how a refused body differs
let number = 0; // of pictures

/** What is wrong with a document. Runs in the page. */
function faults() {
  const found = [];
  const attack = "hbx-attack, script:not([src]), img, iframe, object, embed, [style], [srcdoc], [href^='javascript:' i]";
  for (const element of document.querySelectorAll(attack)) {
    found.push(`an element of an attack: ${element.outerHTML.slice(0, 200)}`);
  }
  for (const element of document.querySelectorAll("*")) {
    const handlers = element.getAttributeNames().filter((name) => name.startsWith("on"));
    found.push(...handlers.map((name) => `a handler of an attack: ${name} of ${element.outerHTML.slice(0, 200)}`));
  }
  if (window.attacked) {
    found.push("a script of an attack ran");
  }
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  // A text in a field is edited as it is.
  const isField = (node) => node.parentElement.closest("textarea, option") !== null;
  const reorders = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/;
  while (texts.nextNode()) {
    const { nodeValue } = texts.currentNode;
    if (reorders.test(nodeValue) && !isField(texts.currentNode)) {
      found.push(`a hidden character in ${JSON.stringify(nodeValue.slice(0, 80))}`);
    }
  }
  return found;
}

/** Places where a text that is written from right to left has moved what is beside it. Runs in the page. */
function reordered() {
  const found = [];
  const rightToLeft = /[\u0590-\u08ff]/;
  const isInline = (node) => node.nodeType === Node.TEXT_NODE || getComputedStyle(node).display.startsWith("inline");
  const boxes = (node) => {
    const range = document.createRange();
    range.selectNodeContents(node);
    return [...range.getClientRects()].filter(({ width }) => width > 0);
  };
  for (const element of document.querySelectorAll("main *")) {
    const children = [...element.childNodes].filter((node) => node.textContent.trim() !== "" && isInline(node));
    if (children.length < 2 || !rightToLeft.test(element.textContent) || !element.checkVisibility()) continue;
    for (const [at, child] of children.slice(1).entries()) {
      const [before, after] = [boxes(children[at]).at(-1), boxes(child)[0]];
      const isSameLine = before && after && before.top < after.bottom && after.top < before.bottom;
      if (isSameLine && after.left < before.right - 1) {
        found.push(`${child.textContent.slice(0, 40)} is not right of ${children[at].textContent.slice(0, 40)}`);
      }
    }
  }
  return found;
}

async function look(page, { path, kind }) {
  const begin = Date.now();
  const answer = await page.goto(url + path);
  const [bytes, took] = [(await answer.body()).length, Date.now() - begin];
  const most = /[?&]all_/.test(path) ? MOST_OF_ALL_BYTES : MOST_BYTES;
  const told = [...(await page.evaluate(faults)), ...(await page.evaluate(reordered))];
  if (bytes > most) {
    told.push(`has ${bytes} bytes`);
  }
  if (took > MOST_MS) {
    told.push(`was shown after ${took} ms`);
  }
  await fits(page).catch((error) => told.push(error.message));
  failures.push(...told.map((fault) => `${path}: ${fault}`));
  const lines = await page.locator(".diff").count();
  differs ||= lines > 0;
  if (kind === "/webhooks/{id}") {
    const shown = await page.evaluate(() => document.querySelector("main").textContent);
    for (const text of TEXTS.filter((text) => text.split(HIDDEN).every((part) => shown.includes(part)))) {
      seen.add(text);
    }
  }
  if (FOLDER) {
    number += 1;
    const name = kind.replaceAll(/[^a-z0-9.-]+/gi, "_");
    await page.screenshot({ path: `${FOLDER}/hostile ${name} ${number}.png`, fullPage: took < 500 });
  }
}

/** Opens views until none is left. */
async function lookAt(page, views) {
  page.on("dialog", async (dialog) => {
    failures.push(`a dialog of an attack: ${dialog.message()}`);
    await dialog.dismiss();
  });
  for (let view = views.shift(); view; view = views.shift()) {
    await look(page, view);
  }
}

const whole = withPage({ width: 360 }, async (page) => {
  const counts = new Map(); // by kind
  const views = (await crawl(page)).filter(({ kind, status }) => {
    const count = counts.get(kind) ?? 0;
    counts.set(kind, count + 1);
    // Each webhook is another attack. Of other kinds, some.
    return status === 200 && (kind === "/webhooks/{id}" || count < 2);
  });
  await Promise.all([lookAt(page, views), withPage({ width: 360 }, (other) => lookAt(other, views))]);
});
// Also tells what else was found.
await whole.catch((error) => failures.push(error.message));

if (!differs) {
  failures.push("no view shows how a refused body differs");
}
const missing = TEXTS.filter((text) => !seen.has(text));
failures.push(...missing.map((text) => `is not shown as it was sent: ${JSON.stringify(text)}`));
if (failures.length > 0) {
  throw new Error(`${failures.length} failures:\n${failures.join("\n")}`);
}
