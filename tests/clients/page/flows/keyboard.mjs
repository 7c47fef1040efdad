// All of the page by keys alone.

import assert from "node:assert/strict";

import { accessible, url, withPage } from "../browser.mjs";
import { rows, statusOf, submit, titled, told } from "./steps.mjs";

const target = process.env.TARGET;
const ids = [];
for (const key of ["first", "second", "third"]) {
  ids.push(await submit(key, "mail.created"));
}
for (const id of ids) {
  await statusOf(id, "dead_lettered");
}
await fetch(`${target}/mail/mend`, { method: "POST" });
await fetch(`${target}/mail/answer`, { method: "POST" });

await withPage({}, async (page) => {
  const press = async (...keys) => {
    for (const key of keys) {
      await page.keyboard.press(key);
    }
  };
  const focused = (locator) => locator.and(page.locator(":focus")).waitFor();
  const linkOf = (key) => rows(page, key).getByRole("link");

  await page.goto(`${url}/webhooks`);
  await reachesEverything(page);
  const keys = page.getByRole("dialog", { name: "Keys" });
  await press("?");
  await keys.waitFor();
  await press("j", "Escape");
  await keys.waitFor({ state: "hidden" });

  // The newest is the first.
  const search = page.getByRole("searchbox");
  await press("/");
  await focused(search);
  await page.keyboard.type("j");
  assert.equal(await search.inputValue(), "j");
  await press("Escape", "j");
  await focused(linkOf("third"));
  await press("j", "j", "j");
  await focused(linkOf("first"));
  await press("k");
  await focused(linkOf("second"));
  await press("Enter");
  await page.waitForURL(`**/webhooks/${ids[1]}`);
  await titled(page, "dead-lettered");
  await reachesEverything(page);

  // The form of the webhook
  const retry = page.locator("details.confirm", { hasText: "Retry…" });
  await press("r");
  await focused(retry.getByLabel("Reason"));
  await press("Escape");
  await focused(retry.locator("summary"));
  await press("r");
  await page.keyboard.type("the target is mended");
  await press("Enter");
  await told(page, "start a new run");

  // Other views lead to the search, unless something was written there.
  for (const path of ["/", "/routes", `/webhooks/${ids[0]}`]) {
    await page.goto(url + path);
    await press("/");
    await page.waitForURL("**/webhooks#find");
    await focused(search);
  }
  await page.goto(`${url}/webhooks/${ids[0]}/edit`);
  await page.getByLabel("Body").fill('{"customer":18}');
  await page.getByLabel("Body").blur();
  await press("/");
  // A navigation would have begun before this request, and would end it.
  await page.evaluate(() => fetch(location.href).then((answer) => answer.text()));
  assert.equal(await page.getByLabel("Body").inputValue(), '{"customer":18}');

  // The form of a row of each list
  await page.goto(`${url}/webhooks`);
  await press("/");
  await page.keyboard.type("third");
  await press("Enter");
  await page.waitForURL(/\/webhooks\?idempotency_key=third$/);
  await press("j", "r");
  await focused(rows(page, "third").getByLabel("Reason"));
  await accessible(page);
  await page.keyboard.type("the target is mended");
  await press("Enter");
  await told(page, "The job of mail starts a new run.");
  await page.waitForURL(/\/webhooks\?idempotency_key=third$/);
  await page.goto(`${url}/dead-letters`);
  await press("j", "r");
  await focused(rows(page, "mail").getByLabel("Reason"));
  await page.keyboard.type("the target is mended");
  await press("Enter");
  await told(page, "1 dead letter of mail run again.");
});

/** Fails if Tab does not reach something that can be clicked or filled in. */
async function reachesEverything(page) {
  // Live views replace elements by others that are the same.
  await page.evaluate(() => {
    window.reached = new Set();
    document.addEventListener("focusin", (event) => window.reached.add(event.target.outerHTML));
  });
  const all = page.locator("a[href], button, input:not([type=hidden]), select, textarea, summary");
  const count = await all.count();
  for (let at = 0; at < count; at += 1) {
    await page.keyboard.press("Tab");
  }
  const unreached = await all.evaluateAll((found) =>
    found.filter((one) => one.checkVisibility()).map((one) => one.outerHTML).filter((one) => !window.reached.has(one)),
  );
  assert.deepEqual(unreached, []);
  await page.evaluate(() => document.activeElement.blur());
}
