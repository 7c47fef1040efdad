// Many webhooks are replayed after a count, and a route is paused and resumed.

import { url, withPage } from "../browser.mjs";
import { confirm, open, rows, submit, titled, told, withoutReload } from "./steps.mjs";

const COUNT = process.env.COUNT;

await withPage({}, async (page) => {
  const list = await page.context().newPage();
  await list.goto(`${url}/replays`);
  await list.getByText("No replay was started.").waitFor();
  const actions = await page.context().newPage();
  await actions.goto(`${url}/actions`);
  await actions.getByText("No action is recorded here.").waitFor();
  await withoutReload(list, () => withoutReload(actions, async () => {
    await replay(page);
    await rows(list, "Replay 2", "completed", "the ledger lost a day").waitFor();
    await rows(actions, "replay", "the ledger lost a day").first().waitFor();
    await actions.getByText("No action is recorded here.").waitFor({ state: "detached" });
  }));
});

async function replay(page) {
  await open(page, "Replays");
  await page.getByRole("link", { name: "New replay" }).click();
  await page.getByLabel("dead-lettered").uncheck();
  await page.getByLabel("completed").check();
  await page.getByLabel("Route").fill("orders");
  await page.getByLabel("Rate").fill("100/s");
  await page.getByLabel("Reason").fill("the ledger lost a day");
  await page.getByRole("button", { name: "Count the jobs" }).click();
  await page.getByText(`${COUNT} jobs of ${COUNT} webhooks would run again.`).waitFor();
  await page.getByRole("button", { name: `Run ${COUNT} jobs again` }).click();
  await told(page, "The replay is started.");
  await page.getByRole("progressbar").waitFor();
  await withoutReload(page, async () => {
    await page.locator("#replay .badge", { hasText: "completed" }).waitFor();
    await page.getByText(`${COUNT} run again`).waitFor();
  });
  await open(page, "Actions");
  await rows(page, "replay", "the ledger lost a day").first().waitFor();

  await page.goto(`${url}/webhooks?status=completed&route=orders&within=24h&body_contains={}`);
  await page.getByRole("link", { name: "Replay these…" }).click();
  await page.getByRole("button", { name: "Count the jobs" }).click();
  await page.getByText(`${COUNT} jobs of ${COUNT} webhooks would run again.`).waitFor();
  await page.getByText("body with the text").waitFor();
}

await withPage({}, async (page) => {
  await open(page, "Routes");
  await page.getByRole("link", { name: "orders" }).click();
  await confirm(page, "Pause", "the ledger is being moved");
  await told(page, "Paused");
  await page.getByText("This route has been paused since").waitFor();
  await page.getByText(/Paused by .*: the ledger is being moved/).waitFor();
  const id = await submit("while-paused", "order.created");
  await open(page, "Webhooks");
  await rows(page, "while-paused").getByRole("link").click();
  await titled(page, "pending");

  const other = await page.context().newPage();
  await other.goto(page.url());
  await open(other, "Overview");
  await other.locator("li", { hasText: "The route orders has been paused for" }).getByRole("link").click();
  await confirm(other, "Resume", "the ledger is there");
  await told(other, "Resumed");

  await withoutReload(page, () => titled(page, "completed"));
  await page.waitForURL(`**/webhooks/${id}`);
  await open(page, "Actions");
  await rows(page, "pause", "orders", "the ledger is being moved").waitFor();
  await rows(page, "resume", "orders", "the ledger is there").waitFor();
});
