// Opens pages of hookbox in Chromium, and fails when they do what no page may do. The only script that imports
// packages.

import { createRequire } from "node:module";

const installed = createRequire(process.env.INSTALLED + "/");
const { chromium } = installed("playwright-core");

/** Where the page is, and the token to log in with; empty if none is needed. */
export const url = process.env.PAGE_URL;
export const token = process.env.PAGE_TOKEN ?? "";

/** How long a step may take: as long as the slowest machine needs. */
const DEADLINE_MS = 20_000;

/** How long Chromium stays open without a page. It ends with the script, and is started once for several pages. */
const IDLE_MS = 300;

const FLAGS = [
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

let browser = null; // a promise of the browser
let open = 0; // how many pages are open
let idle = null; // the timer that closes the browser

/**
 * Opens a page in a new context and calls `run` with it. Fails if the console had an error, a script failed, the
 * Content-Security-Policy was violated (the console says so, also without JavaScript), a request left the server, or an
 * answer of the server was 5xx. `expected` are expressions for what a test provokes on purpose.
 */
export async function withPage(options, run) {
  const { width = 1440, theme = "light", javaScript = true, loggedIn = true, expected = [] } = options;
  clearTimeout(idle);
  open += 1;
  try {
    browser ??= chromium.launch({
      executablePath: "/usr/bin/chromium",
      chromiumSandbox: process.getuid() !== 0,
      args: FLAGS,
    });
    const context = await (await browser).newContext({
      viewport: { width, height: 900 },
      colorScheme: theme,
      javaScriptEnabled: javaScript,
      locale: "en-GB",
      timezoneId: "UTC",
    });
    try {
      context.setDefaultTimeout(DEADLINE_MS);
      const faults = watched(context);
      const page = await context.newPage();
      if (loggedIn && token) {
        await login(page);
      }
      await run(page);
      const unexpected = faults.filter((fault) => !expected.some((expression) => expression.test(fault)));
      if (unexpected.length > 0) {
        throw new Error(`the page misbehaved:\n${unexpected.join("\n")}`);
      }
    } finally {
      await context.close();
    }
  } finally {
    open -= 1;
    if (open === 0) {
      idle = setTimeout(close, IDLE_MS);
    }
  }
}

/** Logs in with the token, and waits for the overview. */
export async function login(page) {
  await page.goto(`${url}/login`);
  await page.getByLabel("Token").fill(token);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
}

/** Fails if axe-core has serious or critical findings on a page as it is now shown. */
export async function accessible(page) {
  // What the protocol evaluates is not subject to the policy of the page.
  await page.evaluate(installed("axe-core").source);
  const found = await page.evaluate(() => window.axe.run({ resultTypes: ["violations"], preload: false }));
  const grave = found.violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  if (grave.length > 0) {
    const told = grave.flatMap(({ id, impact, help, nodes }) =>
      nodes.map(({ target, failureSummary }) => `${impact} ${id}: ${help}\n  at ${target.join(" ")}\n  ${failureSummary}`),
    );
    throw new Error(`${page.url()} is not accessible:\n${told.join("\n")}`);
  }
}

/** What a page may not do, as texts that are added when it does. */
function watched(context) {
  const { origin } = new URL(url);
  const faults = [];
  context.on("console", (message) => {
    if (message.type() === "error") {
      faults.push(`console: ${message.text()} (${message.location().url})`);
    }
  });
  context.on("weberror", (error) => faults.push(`script: ${error.error().stack}`));
  context.on("request", (request) => {
    const to = new URL(request.url());
    if (to.origin !== origin && !["data:", "blob:", "about:"].includes(to.protocol)) {
      faults.push(`request to another server: ${request.method()} ${to}`);
    }
  });
  context.on("response", (response) => {
    if (response.status() >= 500) {
      faults.push(`answer: ${response.status()} to ${response.request().method()} ${response.url()}`);
    }
  });
  return faults;
}

async function close() {
  const closing = browser;
  browser = null;
  await (await closing)?.close();
}
