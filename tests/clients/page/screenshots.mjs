// Takes the pictures of docs/screenshots, in both themes. Chromium itself encodes them.

import { writeFileSync } from "node:fs";

import { url, withPage } from "./browser.mjs";

const { PICTURES, MAX_BYTES, WEBHOOK } = process.env;

/** Those of WebP that are tried, until all pictures together are small enough. */
const QUALITIES = [60, 50, 40, 35, 30, 25, 20];
const MARGIN = 16;

// Each ends below the element `last`.
const VIEWS = [
  { name: "overview", path: "/", width: 1120, last: "#charts" },
  { name: "webhook", path: `/webhooks/${WEBHOOK}`, width: 1280, last: "#state" },
  { name: "dead-letters", path: "/dead-letters", width: 1120, last: "#groups" },
  { name: "phone", path: "/", width: 360, last: "#numbers" },
];

/** The picture of a view, encoded in each of the qualities. */
async function taken(page, { path, width, last }) {
  await page.goto(url + path);
  const box = await page.locator(last).boundingBox();
  const height = Math.round(box.y + box.height + MARGIN);
  await page.setViewportSize({ width, height });
  const protocol = await page.context().newCDPSession(page);
  const clip = { x: 0, y: 0, width, height, scale: 1 };
  const encoded = [];
  for (const quality of QUALITIES) {
    const { data } = await protocol.send("Page.captureScreenshot", { format: "webp", quality, clip });
    encoded.push(Buffer.from(data, "base64"));
  }
  return encoded;
}

const pictures = [];
for (const theme of ["light", "dark"]) {
  for (const view of VIEWS) {
    await withPage({ width: view.width, theme }, async (page) => {
      pictures.push({ file: `${view.name}-${theme}.webp`, encoded: await taken(page, view) });
    });
  }
}
const sizes = QUALITIES.map((_, at) => pictures.reduce((sum, { encoded }) => sum + encoded[at].length, 0));
const at = sizes.findIndex((size) => size < Number(MAX_BYTES));
if (at < 0) {
  throw new Error(`the pictures have ${sizes.at(-1)} bytes together, and may have less than ${MAX_BYTES}`);
}
for (const { file, encoded } of pictures) {
  writeFileSync(`${PICTURES}/${file}`, encoded[at]);
}
