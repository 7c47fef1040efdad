// A dead letter is found by its error, understood, and retried once its target is mended.

import { withPage } from "../browser.mjs";
import { confirm, open, reloadUntil, rows, statusOf, submit, titled, told, withoutReload } from "./steps.mjs";

const target = process.env.TARGET;

await withPage({}, async (page) => {
  await retryOnceMended(page, "billing");
  // The target holds its answer back, so that the page is there before the job is completed.
  await titled(page, "processing");
  await withoutReload(page, async () => {
    await fetch(`${target}/billing/answer`, { method: "POST" });
    await titled(page, "completed");
  });
  await timelineOf(page, "billing");
});

await withPage({ javaScript: false }, async (page) => {
  await retryOnceMended(page, "stock");
  await reloadUntil(page, page.locator("h1 .badge", { hasText: "processing" }));
  await fetch(`${target}/stock/answer`, { method: "POST" });
  await reloadUntil(page, page.locator("h1 .badge", { hasText: "completed" }));
  await timelineOf(page, "stock");
});

async function retryOnceMended(page, route) {
  await statusOf(await submit(route, `${route}.created`), "dead_lettered");
  await open(page, "Dead letters");
  await rows(page, route).getByRole("link", { name: "Replay all of this group…" }).click();
  await page.getByRole("button", { name: "Count the jobs" }).click();
  await page.getByText("1 job of 1 webhook would run again.").waitFor();
  await open(page, "Dead letters");
  await rows(page, route).getByRole("link", { name: "the target answered 422" }).click();
  await rows(page, route).getByRole("link", { name: `${route}.created` }).click();
  await titled(page, "dead-lettered");
  const attempt = page.locator(".timeline li", { hasText: `Attempt 1 of ${route} failed` });
  await attempt.locator("summary", { hasText: "answered 422 Unprocessable Entity" }).click();
  await attempt.getByText(`${route} has no customer 17`).waitFor();
  await fetch(`${target}/${route}/mend`, { method: "POST" });
  await confirm(page, "Retry", "customer 17 is there again");
  await told(page, "Dead letters and cancelled jobs start a new run.");
}

async function timelineOf(page, route) {
  const timeline = page.locator(".timeline li");
  await timeline.filter({ hasText: "Retried by admin" }).filter({ hasText: "customer 17 is there again" }).waitFor();
  await timeline.filter({ hasText: `Attempt 2 of ${route}, run 2, completed` }).waitFor();
}
