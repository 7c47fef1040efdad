// What a token lets its holder see and do, and what the first view weighs.

import assert from "node:assert/strict";

import { token, url, withPage } from "../browser.mjs";
import { open, statusOf, submit, titled } from "./steps.mjs";

const { READER, ROUTE, SOURCE } = process.env;

/** The most bytes of all answers of the first view, as they are sent. */
const MAX_BYTES = 120 * 1024;

const refused = /console: Failed to load resource: the server responded with a status of 40[13] /;

await withPage({ loggedIn: false, expected: [refused] }, async (page) => {
  await page.goto(`${url}/sources`);
  await logIn(page, `${token}-of-another`);
  await page.getByText("This is not a token of this hookbox.").waitFor();
  await logIn(page, token);
  // The login goes on with what was asked for.
  await page.getByRole("heading", { level: 1, name: "Sources" }).waitFor();
  await open(page, "Overview");
  await page.getByText("Nothing is wrong.").waitFor();
  await page.getByRole("button", { name: "Log out" }).click();
  await page.waitForURL(`${url}/login`);
  await page.goto(`${url}/webhooks`);
  await page.getByRole("button", { name: "Log in" }).waitFor();
});

await withPage({}, async (page) => {
  const answers = [];
  await page.waitForLoadState("load");
  const cdp = await page.context().newCDPSession(page);
  await cdp.send("Network.clearBrowserCache");
  page.on("response", (response) => answers.push(response));
  await page.goto(url, { waitUntil: "load" });
  const kinds = new Set(answers.map((answer) => answer.request().resourceType()));
  assert.ok(["document", "stylesheet", "script"].every((kind) => kinds.has(kind)), [...kinds].join());
  // The stream of changes does not end.
  const ended = answers.filter((answer) => answer.request().resourceType() !== "eventsource");
  const sizes = await Promise.all(ended.map((answer) => answer.request().sizes()));
  const bytes = sizes.reduce((sum, size) => sum + size.responseHeadersSize + size.responseBodySize, 0);
  const each = ended.map((answer, at) => `${sizes[at].responseBodySize} ${answer.url()}`);
  assert.ok(bytes > 1_000 && bytes < MAX_BYTES, `${bytes} bytes:\n${each.join("\n")}`);
  assert.ok(answers.every((answer) => answer.url().startsWith(`${url}/`)), each.join("\n"));
});

const failed = await submit("failed", "order.created");
await statusOf(failed, "dead_lettered");
const views = [
  "/",
  "/webhooks",
  `/webhooks/${failed}`,
  "/dead-letters",
  "/routes",
  `/routes/${ROUTE}`,
  "/sources",
  `/sources/${SOURCE}`,
  "/replays",
  "/actions",
  "/settings",
];

await withPage({}, async (page) => {
  const retry = `${url}/webhooks/${failed}/retry`;
  assert.ok((await changing(page, [`/webhooks/${failed}`])).includes(retry), "an operator sees the form");
});

await withPage({ loggedIn: false, expected: [refused] }, async (page) => {
  await page.goto(`${url}/login`);
  await logIn(page, READER);
  await page.getByText("read-only").waitFor();
  assert.deepEqual(await changing(page, views), []);
  await page.goto(`${url}/webhooks/${failed}`);
  const status = await page.evaluate(async (path) => {
    // The token of the forms of this caller is right.
    const body = new URLSearchParams(new FormData(document.querySelector('form[action$="/logout"]')));
    return (await fetch(path, { method: "POST", body })).status;
  }, `${url}/webhooks/${failed}/retry`);
  assert.equal(status, 403);
  await page.reload();
  await titled(page, "dead-lettered");
});

async function logIn(page, given) {
  await page.getByLabel("Token").fill(given);
  await page.getByRole("button", { name: "Log in" }).click();
}

/** Where the forms of views post to, but for the logout. */
async function changing(page, paths) {
  const found = [];
  for (const path of paths) {
    await page.goto(url + path);
    await page.locator("h1").waitFor();
    found.push(...(await page.locator("form[method=post]").evaluateAll((forms) => forms.map((form) => form.action))));
  }
  return found.filter((action) => !action.endsWith("/logout"));
}
