// The last columns of tables stay in sight, whatever is in the others and whatever the width.

import assert from "node:assert/strict";

import { url, withPage } from "../browser.mjs";
import { giveUp, statusOf, submit } from "./steps.mjs";

const id = await submit("long", "far.created");
await giveUp("far", "x".repeat(2_000));
await statusOf(id, "dead_lettered");

await withPage({ width: 1440 }, async (page) => {
  for (const path of ["/dead-letters", "/webhooks?status=dead_lettered"]) {
    await page.goto(`${url}${path}`);
    await allInSight(page, path);
    await page.locator("tbody summary", { hasText: "Retry…" }).click();
    await page.locator("details.confirm[open]").getByRole("button", { name: "Retry" }).click({ trial: true });
  }
});

for (const width of [360, 1024, 1320]) {
  await withPage({ width }, async (page) => {
    for (const path of ["/", "/dead-letters", "/routes", "/sources"]) {
      await page.goto(`${url}${path}`);
      await allInSight(page, `${path} at ${width} px`);
    }
  });
}

/** Fails if the window or a table scrolls sideways. */
async function allInSight(page, what) {
  const widths = await page.evaluate(() =>
    [document.documentElement, ...document.querySelectorAll(".table")].map((part) => [part.scrollWidth, part.clientWidth]),
  );
  for (const [content, room] of widths) {
    assert.ok(content <= room + 1, `${what}: ${content} px in ${room} px`);
  }
}
