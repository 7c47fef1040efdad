// Every view of a hookbox that holds one of everything: accessible, in both themes and on narrow and wide screens, by
// keyboard and without JavaScript.

import assert from "node:assert/strict";

import { accessible, url, withPage } from "./browser.mjs";
import { fits, keeps, reachableByKeyboard } from "./views-checks.mjs";
import { crawl } from "./views-crawl.mjs";

const WIDE = { width: 1440, height: 900 };
const MEDIUM = { width: 800, height: 1200 };
const NARROW = { width: 360, height: 800 };
const FOLDER = process.env.PAGE_SCREENSHOTS;

/** The rules of axe-core that depend on the theme, and on the width. */
const THEME_RULES = ["color-contrast"];
const WIDTH_RULES = ["scrollable-region-focusable", "target-size"];

/** Views of some webhooks and sources: by name, the kind of their path, and a text that only they have. */
const SPECIAL = {
  "/webhooks/{id}#hidden": ["/webhooks/{id}", "Show the payload"],
  "/webhooks/{id}/edit#hidden": ["/webhooks/{id}/edit", "Show and edit the payload"],
  "/webhooks/{id}#difference": ["/webhooks/{id}", 'id="difference"'],
  "/sources/{name}#handshake-tokens": ["/sources/{name}", 'id="handshake-tokens"'],
};

/** The views that there have to be: kinds of paths, and those above. */
const KNOWN = [
  "/",
  "/webhooks",
  "/webhooks status=quarantined",
  "/webhooks/{id}",
  "/webhooks/{id} body=bytes",
  "/webhooks/{id} body=fields",
  "/webhooks/{id} body=text",
  "/webhooks/{id}/edit",
  "/dead-letters",
  "/dead-letters route",
  "/webhooks error_contains route status=dead_lettered",
  "/routes",
  "/routes/{name}",
  "/sources",
  "/sources/{name}",
  "/sources preset",
  "/replays",
  "/replays/{name}",
  "/replays route status=dead_lettered",
  "/replays error_contains route status=dead_lettered",
  "/actions",
  "/settings",
  ...Object.keys(SPECIAL),
];

/** Paths of what does not exist, or is asked for wrongly, by kind. */
const WRONG = { "no webhook": "/webhooks/01934c3e-7b00-7000-8000-000000000000", "wrong filter": "/webhooks?status=done" };

const failures = [];
/** Runs a check of a path. What fails is told at the end, with what else does. */
async function check(path, what, run) {
  try {
    await run();
  } catch (error) {
    failures.push(`${path} ${what}: ${error.message}`);
  }
}

/** Checks a view in each theme and width, without loading it again; only whether it fits, unless `isWhole`. */
async function inEachLook(page, path, name, isWhole) {
  await page.setViewportSize(MEDIUM);
  await check(path, "medium", () => fits(page));
  for (const [width, size] of Object.entries({ wide: WIDE, narrow: NARROW })) {
    await page.setViewportSize(size);
    for (const theme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme: theme });
      const look = `${width} ${theme}`;
      await check(path, look, () => fits(page));
      if (isWhole && look === "wide light") {
        await check(path, look, () => accessible(page));
      } else if (isWhole && look !== "narrow dark") {
        await check(path, look, () => keeps(page, width === "wide" ? THEME_RULES : WIDTH_RULES));
      }
      if (FOLDER) {
        const file = `${name} ${look}`.replaceAll(/[^a-z0-9.-]+/gi, "_");
        await page.screenshot({ path: `${FOLDER}/${file}.png`, fullPage: true });
      }
    }
  }
}

/** What a view says, without what changes with time and what only JavaScript shows. Runs in the page. */
function content() {
  const main = document.querySelector("main").cloneNode(true);
  main.querySelectorAll("time, figure, [data-copy], [data-copy-from]").forEach((part) => part.remove());
  const text = main.textContent.replaceAll(/(< )?\d[\d.,:]*( (ms|s|min|h|d)\b)?/g, "#").replaceAll(/(# ?)+/g, "#");
  const links = [...main.querySelectorAll("a[href]")].map((link) => link.getAttribute("href").replaceAll(/\d+/g, "#"));
  return JSON.stringify({ title: document.title, text: text.replaceAll(/\s+/g, " "), links }, null, 1);
}

/** Whether a view shows one webhook, route or source as it is first shown. */
const isOfOne = (name) => /^\/(webhooks|routes|sources)\/\{\w+\}( [^=]+)?$/.test(name);

/** Fails if a view says something else without JavaScript. */
async function saysTheSame(page, plain, path) {
  for (let tries = 3; ; tries -= 1) {
    const [expected, shown] = [await page.evaluate(content), await plain.evaluate(content)];
    if (expected === shown) {
      return;
    }
    // What it shows can have changed between the two.
    if (tries === 0) {
      throw new Error(`says\n${shown}\nand with it\n${expected}`);
    }
    await Promise.all([page.goto(url + path), plain.goto(url + path)]);
  }
}

/** Checks a view in a page with JavaScript, and in one without. */
async function look(page, plain, name, path) {
  const isKnown = KNOWN.includes(name);
  await page.setViewportSize(WIDE);
  await page.goto(url + path);
  if (isKnown) {
    await plain.goto(url + path);
    await check(path, "without JavaScript", () => saysTheSame(page, plain, path));
    await check(path, "without JavaScript", () => fits(plain));
  }
  await inEachLook(page, path, name, isKnown || isOfOne(name));
  // With parameters, a view has nothing else to use.
  if (isKnown && !name.includes(" ")) {
    await page.setViewportSize(WIDE);
    await check(path, "keyboard", () => reachableByKeyboard(page));
  }
}

/**
 * The views to look at: by name, the path. The special ones; of each kind the first other one, but of webhooks, routes and
 * sources all that differ.
 * What is found through a filter looks like the view that has the filter.
 */
async function chosen(page) {
  const views = new Map();
  for (const { path, kind, isForm, html } of await crawl(page)) {
    const isSpecial = (name) => !views.has(name) && SPECIAL[name][0] === kind && html.includes(SPECIAL[name][1]);
    const special = Object.keys(SPECIAL).find(isSpecial);
    if (special) {
      views.set(special, path);
      continue;
    }
    const title = /^\/(webhooks|routes|sources)\/\{\w+\}$/.test(kind) ? /<h1>.*?<\/h1>/.exec(html)[0] : "";
    const name = views.has(kind) ? [kind, title.replaceAll(/<[^>]+>/g, "")].join(" ").trim() : kind;
    if (!views.has(name) && (!isForm || KNOWN.includes(kind))) {
      views.set(name, path);
    }
  }
  const missing = KNOWN.filter((kind) => !views.has(kind));
  if (missing.length > 0) {
    failures.push(`no link leads to: ${missing.join(", ")}`);
  }
  return [...views];
}

const whole = withPage({}, async (first) => {
  const views = await chosen(first);
  const lane = (page) =>
    withPage({ javaScript: false, width: 360 }, async (plain) => {
      for (let view = views.shift(); view; view = views.shift()) {
        const [name, path] = view;
        await look(page, plain, name, path);
      }
    });
  await Promise.all([lane(first), withPage({}, lane)]);
});
// Also tells what else was found.
await whole.catch((error) => failures.push(error.message));

// Browsers write a line into the console for a document with such a status.
await withPage({ expected: [/the server responded with a status of 40[04]/] }, async (page) => {
  for (const [name, path] of Object.entries(WRONG)) {
    await page.goto(url + path);
    await inEachLook(page, path, name, true);
  }
});

await withPage({ loggedIn: false }, async (page) => {
  await page.goto(url + "/webhooks");
  await page.getByLabel("Token").waitFor();
  await inEachLook(page, "/login", "login", true);
  await check("/login", "keyboard", () => reachableByKeyboard(page));
});

await withPage({}, async (page) => {
  await page.goto(`${url}/routes`);
  const opener = page.getByText("Pause everything…");
  const reason = page.locator("details", { has: opener }).getByLabel("Reason");
  await opener.press("Enter");
  await page.keyboard.press("Tab");
  await check("/routes", "a question", async () => {
    assert.ok(await reason.evaluate((field) => field === document.activeElement), "its field is next");
    await page.keyboard.press("Escape");
    assert.ok(await reason.isHidden(), "Escape closes it");
    assert.ok(await opener.evaluate((summary) => summary === document.activeElement), "and the focus is on its opener");
    await opener.press("Enter");
    await page.keyboard.press("Shift+Tab");
    assert.ok(await reason.isHidden(), "it closes when the focus leaves it");
  });
});

await withPage({ javaScript: false }, async (page) => {
  await page.goto(url + "/webhooks");
  await page.locator("#rows a").first().click();
  await page.getByRole("heading", { name: "What happened" }).waitFor();
});

for (const javaScript of [true, false]) {
  await withPage({ javaScript, width: 360 }, async (page) => {
    const path = "a hidden payload that was asked for";
    await page.goto(`${url}/webhooks?source=clinic`);
    await page.locator("#rows a").first().click();
    await page.getByRole("button", { name: "Show the payload" }).click();
    await page.getByText("Ada Nowak").first().waitFor();
    if (!javaScript) {
      return check(path, "without JavaScript", () => fits(page));
    }
    await inEachLook(page, path, path, true);
    await page.setViewportSize(WIDE);
    return check(path, "keyboard", () => reachableByKeyboard(page));
  });
}

if (failures.length > 0) {
  throw new Error(`${failures.length} failures:\n${failures.join("\n")}`);
}
