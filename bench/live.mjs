// Shows a live view in Chromium for some seconds, and prints how it fared. See live.py.
//
//   INSTALLED=target/clients node live.mjs URL SECONDS

import { createRequire } from "node:module";

const { chromium } = createRequire(process.env.INSTALLED + "/")("playwright-core");
const [url, seconds] = [process.argv[2], Number(process.argv[3])];

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  chromiumSandbox: process.getuid() !== 0,
  args: ["--disable-gpu", "--enable-precise-memory-info"],
});
const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
await page.goto(url);
await page.waitForSelector("tr[data-id]");
await page.evaluate(() => {
  window.seen = { task: 0, frame: 0, frames: 0, updates: 0 };
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) seen.task = Math.max(seen.task, entry.duration);
  }).observe({ entryTypes: ["longtask"] });
  let last = performance.now();
  const frame = (now) => {
    seen.frame = Math.max(seen.frame, now - last);
    seen.frames += 1;
    last = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  const list = document.querySelector('[data-live="list"]').parentElement;
  new MutationObserver(() => { seen.updates += 1; }).observe(list, { childList: true });
});
const heap = () => page.evaluate(() => performance.memory.usedJSHeapSize / 1048576);
const before = await heap();
console.log("shown");
await page.waitForTimeout(seconds * 1000);
const seen = await page.evaluate(() => window.seen);
console.log(JSON.stringify({
  "longest task, ms": seen.task,
  "longest frame, ms": seen.frame,
  "frames/s": seen.frames / seconds,
  "updates of the view": seen.updates,
  "heap before, MiB": before,
  "heap after, MiB": await heap(),
}));
await browser.close();
