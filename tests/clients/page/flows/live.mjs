// The list of webhooks follows what comes in, and its address can be shared.

import assert from "node:assert/strict";

import { withPage } from "../browser.mjs";
import { open, rows, submit, withoutReload } from "./steps.mjs";

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
    await submit("while-paused", "order.created");
    await nextChange(page);
    await submit("after-it", "order.created");
    await nextChange(page);
    assert.equal(await rows(page, "while-paused").count(), 0);
    await paused.click();
    await rows(page, "while-paused").waitFor();
  });
  assert.equal(await rows(page, "other").count(), 0);

  const shared = await page.context().newPage();
  await shared.goto(page.url());
  await rows(shared, "while-paused").waitFor();
  const keys = (list) => list.locator("#rows tr .small.muted").allTextContents();
  assert.deepEqual(await keys(shared), await keys(page));
});

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

/** Waits for a change that a stream of its own tells. The stream of the page has told one by then. */
function nextChange(page) {
  return page.evaluate(
    () =>
      new Promise((resolve) => {
        const stream = new EventSource(document.body.dataset.stream);
        stream.addEventListener("change", () => {
          stream.close();
          resolve();
        });
      }),
  );
}
