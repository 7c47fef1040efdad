// A search in bodies that takes several answers goes on by itself, until it has found all or somebody stops it.

import assert from "node:assert/strict";

import { accessible, url, withPage } from "../browser.mjs";
import { eventually, rows, withoutReload } from "./steps.mjs";

const SEARCH = `${url}/webhooks?body_contains=needle`;

/** The requests of the page after its first answer. */
const PART = /\/webhooks\?.*page_token=/;

await withPage({}, async (page) => {
  await page.goto(SEARCH);
  await withoutReload(page, async () => {
    await said(page, "Searched to the end: 2 webhooks.");
    await page.getByRole("status").filter({ hasText: "Searched to the end: 2 webhooks." }).waitFor();
  });
  assert.deepEqual(await page.locator("#rows td.main .muted").allTextContents(), ["newest", "oldest"]);
  assert.equal(await page.getByRole("link", { name: "Older" }).count(), 0);
  assert.equal(await button(page, "Stop").count(), 0);
});

// It ends when its page is full. The next page has as many rows.
await withPage({}, async (page) => {
  const asked = askedBy(page);
  await page.goto(`${SEARCH}&page_size=2`);
  await said(page, "2 webhooks of those accepted since");
  await said(page, "Older ones may match, too.");
  await rows(page, "oldest").waitFor();
  assert.equal(await button(page, "Stop").count(), 0);
  assert.ok(asked.length > 0 && asked.every(({ searchParams }) => searchParams.get("page_size") === "1"), asked.join());
  const older = new URL(await page.getByRole("link", { name: "Older" }).getAttribute("href"), url);
  assert.equal(older.searchParams.get("page_size"), "2");
});

// It is stopped by a button and by a key, and goes on.
await withPage({}, async (page) => {
  const held = { routes: [], isOver: false };
  await page.route(PART, (route) => (held.isOver ? route.continue() : held.routes.push(route)));
  const asks = (count) => eventually(`request ${count} for a part`, () => held.routes.length === count);
  await page.goto(SEARCH);
  await asks(1);
  await said(page, "1 webhook of those accepted since");
  await said(page, "Searching on…");
  await accessible(page);
  assert.equal(await focused(page), "", "nothing takes the focus");
  await page.keyboard.press("Escape");
  await said(page, "Stopped.");
  await button(page, "Go on").click();
  await asks(2);
  await button(page, "Stop").click();
  await said(page, "Stopped.");
  await answered(page);
  assert.equal(held.routes.length, 2);
  await button(page, "Go on").click();
  await asks(3);
  held.isOver = true;
  await held.routes[2].continue();
  await said(page, "Searched to the end: 2 webhooks.");
  assert.equal(await focused(page), "searched", "the button that had the focus is gone");
});

// While hookbox is overloaded, it tries again after pauses that grow, and then gives up.
const unavailable = [
  /console: Failed to load resource: the server responded with a status of 503 /,
  /answer: 503 to GET .*page_token=/,
];
await withPage({ expected: unavailable }, async (page) => {
  const now = Date.now();
  await page.clock.install({ time: now });
  await page.clock.pauseAt(now + 3_600_000);
  let isOverloaded = true;
  await page.route(PART, (route) => (isOverloaded ? route.fulfill({ status: 503 }) : route.continue()));
  const asked = askedBy(page);
  await page.goto(SEARCH);
  for (const [before, pause] of [1, 2, 4, 8, 16, 32].entries()) {
    await said(page, `This page tries again in ${pause} s.`);
    await page.clock.fastForward(pause * 1_000 - 1);
    await answered(page);
    assert.equal(asked.length, before + 1);
    await page.clock.fastForward(1);
  }
  await said(page, "“Go on” tries again.");
  isOverloaded = false;
  await button(page, "Go on").press("Enter");
  await said(page, "Searched to the end: 2 webhooks.");
});

// It waits while its tab is hidden.
await withPage({}, async (page) => {
  await page.addInitScript(() => {
    window.isHidden = true;
    Object.defineProperty(document, "hidden", { get: () => window.isHidden });
  });
  const asked = askedBy(page);
  await page.goto(SEARCH);
  await button(page, "Stop").waitFor();
  await answered(page);
  assert.equal(asked.length, 0);
  await page.evaluate(() => {
    window.isHidden = false;
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await said(page, "Searched to the end: 2 webhooks.");
});

await withPage({ javaScript: false }, async (page) => {
  await page.goto(SEARCH);
  await rows(page, "newest").waitFor();
  while ((await rows(page, "oldest").count()) === 0) {
    const before = page.url();
    await page.getByRole("link", { name: "Older" }).click();
    await page.waitForURL((at) => at.href !== before);
  }
});

/** Waits until the page says this of how far it has looked. */
function said(page, text) {
  return page.locator("#searched", { hasText: text }).waitFor();
}

function button(page, name) {
  return page.getByRole("button", { name, exact: true });
}

/** The URLs of the parts that a page asks for, as they are asked for. */
function askedBy(page) {
  const asked = [];
  page.on("request", (request) => {
    if (PART.test(request.url())) {
      asked.push(new URL(request.url()));
    }
  });
  return asked;
}

/** Waits for a request that a page sends after all that it has sent before. */
function answered(page) {
  return page.evaluate(() => fetch(location.href).then((answer) => answer.text()));
}

/** The id of the element that has the focus; empty if none has it. */
function focused(page) {
  return page.evaluate(() => document.activeElement.id);
}
