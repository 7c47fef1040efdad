// Sources: what is in quarantine is released or discarded; a test is sent, what is refused is explained, and a webhook
// is sent again with another body.

import assert from "node:assert/strict";

import { withPage } from "../browser.mjs";
import { confirm, open, rows, sendAsGithub, titled, told, withoutReload } from "./steps.mjs";

const { SECRET } = process.env;

for (const delivery of ["forged-1", "forged-2"]) {
  assert.equal(await sendAsGithub("kept", delivery, "a wrong secret"), 202);
}

await withPage({}, async (page) => {
  await open(page, "Overview");
  await page.locator("li", { hasText: "2 webhooks are in quarantine" }).getByRole("link").click();
  await page.getByText("More filters").click();
  await page.getByLabel("Cause").selectOption({ label: "signature mismatch" });
  await page.getByRole("button", { name: "Filter", exact: true }).click();
  await page.waitForURL(/cause=signature_mismatch/);
  await rows(page, "forged-1").getByRole("link").click();
  await titled(page, "quarantined");
  await page.getByText("The signature is not that of this request by any key of the source.").first().waitFor();
  await confirm(page, "Release", "the sender had the old secret");
  await told(page, "The webhook is released");
  await titled(page, "completed");
  await page.locator(".timeline li", { hasText: "Released from quarantine" }).waitFor();

  await open(page, "Overview");
  await page.locator("li", { hasText: "1 webhook is in quarantine" }).getByRole("link").click();
  await rows(page, "forged-2").getByRole("link").click();
  await confirm(page, "Discard", "nobody knows it");
  await told(page, "is removed from quarantine");
  await page.getByText("No webhook matches.").waitFor();
});

assert.equal(await sendAsGithub("strict", "forged-3", "a wrong secret"), 401);

await withPage({}, async (page) => {
  await open(page, "Sources");
  await page.getByRole("link", { name: "strict" }).click();
  const refused = page.locator("#rejections");
  await rows(refused, "signature_mismatch", "Copy the secret from the sender again").waitFor();
  await page.getByLabel("Event type").fill("issues");
  await page.getByLabel("Body").fill('{"action":"opened","number":17}');
  await page.getByRole("button", { name: "Send the test" }).click();
  await told(page, "The test arrived, and is stored as this webhook.");
  await page.locator(".facts .badge", { hasText: "verified" }).waitFor();
  await titled(page, "completed");

  await page.getByRole("link", { name: "Edit and send" }).click();
  await page.getByLabel("Body").fill('{"action":"opened","number":18}');
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await told(page, "The webhook is sent.");
  await page.locator(".facts .badge", { hasText: "none" }).waitFor();
  await page.locator("main").getByText("18", { exact: true }).first().waitFor();
});
