// The page behind a proxy that serves it under a prefix, and takes the prefix away.

import assert from "node:assert/strict";

import { login, url, withPage } from "../browser.mjs";
import { open, rows, submit, titled, withoutReload } from "./steps.mjs";

await withPage({ loggedIn: false }, async (page) => {
  const paths = [];
  page.on("request", (request) => paths.push(new URL(request.url()).pathname));
  await page.goto(url);
  await page.waitForURL(`${url}/login`);
  await login(page);
  await open(page, "Webhooks");
  await withoutReload(page, async () => {
    await submit("under-a-prefix", "order.created");
    await rows(page, "under-a-prefix").waitFor();
  });
  await rows(page, "under-a-prefix").getByRole("link").click();
  await titled(page, "completed");
  await page.getByRole("button", { name: "Log out" }).click();
  await page.waitForURL(`${url}/login`);
  const { pathname } = new URL(url);
  assert.ok(paths.some((path) => path.includes("/assets/")) && paths.includes(`${pathname}/live`), paths.join("\n"));
  assert.deepEqual(paths.filter((path) => path !== pathname && !path.startsWith(`${pathname}/`)), []);
});
