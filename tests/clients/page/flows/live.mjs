// The list of webhooks follows what comes in, and its address can be shared. Other views show what is done elsewhere.

import assert from "node:assert/strict";

import { url, withPage } from "../browser.mjs";
import { confirm, open, rows, statusOf, submit, titled, withoutReload } from "./steps.mjs";

await withPage({}, async (page) => {
  await submit("before", "order.created");
  await open(page, "Webhooks");
  await page.getByLabel("Event type").fill("order.created");
  await page.getByRole("button", { name: "Filter", exact: true }).click();
  await page.waitForURL(/\/webhooks\?event_type=order\.created$/);
  await rows(page, "before").waitFor();

  await withoutReload(page, async () => {
    await submit("other", "order.paid");
    await submit("shown", "order.created");
    await rows(page, "shown").waitFor();

    // While somebody reads, rows stay where they are.
    await page.keyboard.press("j");
    await submit("counted", "order.created");
    const button = page.getByRole("button", { name: "1 new" });
    await button.waitFor();
    assert.equal(await rows(page, "counted").count(), 0);
    await button.click();
    await rows(page, "counted").waitFor();

    await page.getByRole("button", { name: "Live" }).click();
    const paused = page.getByRole("button", { name: "Paused" });
    await paused.waitFor();
    const before = await page.locator("#rows").innerHTML();
    await submit("while-paused", "order.created");
    await button.waitFor();
    await submit("after-it", "order.created");
    const two = page.getByRole("button", { name: "2 new" });
    await two.waitFor();
    assert.equal(timeless(await page.locator("#rows").innerHTML()), timeless(before));
    await two.click();
    await rows(page, "while-paused").waitFor();
    await rows(page, "after-it").waitFor();
    assert.equal(await page.getByRole("button", { name: /new$/ }).count(), 0);

    await paused.waitFor();
    await submit("last", "order.created");
    await button.waitFor();
    assert.equal(await rows(page, "last").count(), 0);
    await paused.click();
    await rows(page, "last").waitFor();
    await button.waitFor({ state: "detached" });
  });
  assert.equal(await rows(page, "other").count(), 0);

  const shared = await page.context().newPage();
  await shared.goto(page.url());
  await rows(shared, "last").waitFor();
  const keys = (list) => list.locator("#rows td.main .muted").allTextContents();
  assert.deepEqual(await keys(shared), await keys(page));
});

// A list that is empty fills while it is paused, if that is asked for.
await withPage({}, async (page) => {
  await page.goto(`${url}/webhooks?event_type=order.returned`);
  await page.getByRole("button", { name: "Live" }).click();
  await submit("returned", "order.returned");
  await page.getByRole("button", { name: "1 new" }).click();
  await rows(page, "returned").waitFor();
  await page.getByText("No webhook matches.").waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Paused" }).waitFor();
});

// “Older” goes on from the last row that is shown, also if it was not there at first.
await withPage({}, async (page) => {
  const older = page.getByRole("link", { name: "Older" });
  const keys = () => page.locator("#rows td.main .muted").allTextContents();
  await page.goto(`${url}/webhooks?event_type=order.shipped&page_size=3`);
  await page.getByText("No webhook matches.").waitFor();
  assert.equal(await older.count(), 0);
  await withoutReload(page, async () => {
    for (const number of [1, 2, 3, 4, 5]) {
      await submit(`shipped-${number}`, "order.shipped");
    }
    await rows(page, "shipped-5").waitFor();
    await page.getByText("3 webhooks of those accepted since").waitFor();

    // While rows stay where they are, so does what follows them.
    await page.keyboard.press("j");
    const link = await older.getAttribute("href");
    for (const number of [6, 7]) {
      await submit(`shipped-${number}`, "order.shipped");
    }
    const button = page.getByRole("button", { name: "2 new" });
    await button.waitFor();
    assert.equal(await older.getAttribute("href"), link);
    await button.click();
    await rows(page, "shipped-7").waitFor();
  });
  assert.deepEqual(await keys(), ["shipped-7", "shipped-6", "shipped-5"]);
  await older.click();
  await rows(page, "shipped-4").waitFor();
  assert.deepEqual(await keys(), ["shipped-4", "shipped-3", "shipped-2"]);
});

// A finished webhook shows what is done with it elsewhere, also if that is done at once.
await withPage({}, async (page) => {
  const id = await submit("finished", "order.created");
  await statusOf(id, "completed");
  await page.goto(`${url}/webhooks/${id}`);
  await titled(page, "completed");
  const other = await page.context().newPage();
  await other.goto(page.url());
  await withoutReload(page, async () => {
    await confirm(other, "Replay", "the ledger lost it");
    await page.locator(".timeline li", { hasText: "the ledger lost it" }).waitFor();
    await page.locator(".timeline li", { hasText: "Attempt 2 of" }).waitFor();
    await titled(page, "completed");
  });
});

// Times are relative to the clock of the server, also if that of the browser is wrong.
for (const [clock, ahead] of [["slow", -120_000], ["fast", 120_000]]) {
  await withPage({}, async (page) => {
    const secondsAgo = (key) => rows(page, key).locator("time", { hasText: /^[1-9]\d? s ago$/ }).waitFor();
    await page.clock.install({ time: Date.now() + ahead });
    await submit(`${clock}-1`, `order.${clock}`);
    await page.goto(`${url}/webhooks?event_type=order.${clock}`);
    await secondsAgo(`${clock}-1`);
    await submit(`${clock}-2`, `order.${clock}`);
    await secondsAgo(`${clock}-2`);
  });
}

// A view that cannot be told of changes does not say that it is live.
const refused = /console: Failed to load resource: net::ERR_CONNECTION_REFUSED /;
await withPage({ expected: [refused] }, async (page) => {
  await page.route("**/live", (route) => route.abort("connectionrefused"));
  await open(page, "Webhooks");
  await page.getByRole("button", { name: "Not connected" }).waitFor();
  await page.unroute("**/live");
  await page.getByRole("button", { name: "Live" }).waitFor();
});

// A proxy refuses the stream while hookbox restarts; afterwards the view is live again.
const unavailable = /console: Failed to load resource: the server responded with a status of 503 /;
await withPage({ expected: [unavailable, /answer: 503 to GET .*\/live$/] }, async (page) => {
  await page.clock.install();
  await page.route("**/live", (route) => route.fulfill({ status: 503 }));
  await open(page, "Webhooks");
  await page.getByRole("button", { name: "Every 10 s" }).waitFor();
  await page.unroute("**/live");
  for (let polls = 0; polls < 6; polls += 1) {
    const polled = page.waitForResponse((answer) => answer.request().headers()["hookbox-refresh"] === "1");
    await page.clock.fastForward(10_000);
    await (await polled).finished();
  }
  await page.getByRole("button", { name: "Live" }).waitFor();
});

/** The rows without what changes with time. */
function timeless(html) {
  return html.replaceAll(/<time.*?<\/time>/g, "");
}
