// What the flows have in common: what happens outside of the page, and the steps in it.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";

import { token, url } from "../browser.mjs";

/** Where the APIs are, which have no prefix. */
const api = process.env.API_URL ?? url;
const bearer = token ? { Authorization: `Bearer ${token}` } : {};

/** How long to wait for what happens outside of a page. */
const DEADLINE_MS = 20_000;

// Outside of the page

/** Submits a webhook, and returns its id. */
export async function submit(key, eventType, payload = {}) {
  const body = JSON.stringify({ idempotency_key: key, event_type: eventType, payload });
  const headers = { ...bearer, "Content-Type": "application/json" };
  const answer = await fetch(`${api}/v1/webhooks`, { method: "POST", headers, body });
  assert.equal(answer.status, 202, await answer.clone().text());
  return (await answer.json()).id;
}

/** Takes a job of a route whose handler is `pull`, and gives it up with an error. */
export async function giveUp(route, error) {
  const worker = "a-worker";
  const { jobs } = await post("/v1/work/lease", { routes: [route], worker, wait: "10s" });
  await post("/v1/work/finish", { worker, outcomes: [{ lease: jobs[0].lease, failed: { error, permanent: true } }] });
}

async function post(path, body) {
  const headers = { ...bearer, "Content-Type": "application/json" };
  const answer = await fetch(`${api}${path}`, { method: "POST", headers, body: JSON.stringify(body) });
  assert.ok(answer.ok, await answer.clone().text());
  return answer.json();
}

/** Sends a request to a source with the preset `github`, signed with a secret. Returns the status of the answer. */
export async function sendAsGithub(source, delivery, secret, body = '{"action":"opened"}') {
  const signature = createHmac("sha256", secret).update(body).digest("hex");
  const headers = {
    "Content-Type": "application/json",
    "X-GitHub-Event": "issues",
    "X-GitHub-Delivery": delivery,
    "X-Hub-Signature-256": `sha256=${signature}`,
  };
  return (await fetch(`${api}/v1/sources/${source}/webhooks`, { method: "POST", headers, body })).status;
}

/** Waits until a webhook has a status. */
export function statusOf(id, status) {
  return eventually(`webhook ${id} being ${status}`, async () => {
    const answer = await fetch(`${api}/v1/webhooks/${id}`, { headers: bearer });
    return answer.ok && (await answer.json()).status === status;
  });
}

/** Returns the first true value of `probe`. `what` says what is awaited. */
export async function eventually(what, probe) {
  const end = Date.now() + DEADLINE_MS;
  while (Date.now() < end) {
    const value = await probe();
    if (value) {
      return value;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${what} did not happen within ${DEADLINE_MS / 1000} s`);
}

// In the page

/** Opens a view by its link in the navigation. */
export async function open(page, view) {
  await page.getByRole("navigation", { name: "Views" }).getByRole("link", { name: view, exact: true }).click();
  await page.getByRole("heading", { level: 1, name: view, exact: true }).waitFor();
}

/** Opens the question of a button in a part of the page, gives a reason, and confirms. */
export async function confirm(part, label, reason) {
  await part.locator("summary", { hasText: `${label}…` }).click();
  const form = part.locator("details.confirm[open] form");
  await form.getByLabel("Reason").fill(reason);
  await form.getByRole("button", { name: label }).click();
}

/** Waits for the notice that is shown after an action. */
export function told(page, text) {
  return page.getByRole("status").filter({ hasText: text }).waitFor();
}

/** Waits until the title of a webhook or another view has a status. */
export function titled(page, status) {
  return page.locator("h1 .badge", { hasText: status }).waitFor();
}

/** The rows of tables in a part of the page that have all of these texts. */
export function rows(part, ...texts) {
  return texts.reduce((found, hasText) => found.filter({ hasText }), part.locator("tbody tr"));
}

/** Runs steps during which the page follows by itself: they fail if it is loaded again. */
export async function withoutReload(page, steps) {
  await page.evaluate(() => { window.isSameDocument = true; });
  await steps();
  assert.ok(await page.evaluate(() => window.isSameDocument), "the page was loaded again");
}

/** Loads the page again until it has something, as it is done without JavaScript. */
export function reloadUntil(page, locator) {
  return eventually(`${locator} after a reload`, async () => {
    await page.reload();
    return (await locator.count()) > 0;
  });
}
