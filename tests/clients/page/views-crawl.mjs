// Finds the views of a running hookbox: follows all links from the overview, and chooses each value of each filter.

import { url } from "./browser.mjs";

/** How many paths are looked at. */
const MOST = 500;

/** How many are looked at together. */
const TOGETHER = 4;

/** What is written into the fields of filters; into others, `x`. */
const SAMPLES = {
  accepted_after: "2026-01-01",
  accepted_before: "2099-01-01T12:00",
  body_pointer: "/order_id",
  body_equals: '"ORD-2024-1234"',
  event_type: "order.paid",
  name: "another",
  source: "crm",
  webhook_id: "01934c3e-7b00-7000-8000-000000000000",
};

const UUID = /[0-9a-f]{8}-[0-9a-f-]{27}/;

/**
 * What is found at the paths of a page: `{ path, kind, isForm, status, html }`, the overview first. `kind` is the same for
 * paths that show the same with other data, and `isForm` says that a filter leads there. Fails if a link leads to an error.
 */
export async function crawl(page) {
  const found = [];
  const known = new Set(["/"]);
  let next = [{ path: "/", from: "the start", isForm: false }];
  while (next.length > 0) {
    const now = next.splice(0, TOGETHER);
    for (const { path, isForm, links } of await Promise.all(now.map((one) => look(page, one, found)))) {
      for (const link of links) {
        // A filter of a filter shows nothing new.
        const isNew = !known.has(link.path) && known.size < MOST && !(isForm && link.isForm);
        if (isNew) {
          known.add(link.path);
          next.push({ ...link, from: path });
        }
      }
    }
  }
  return found;
}

async function look(page, { path, from, isForm }, found) {
  // The cookie is for https alone; unlike Chromium, Playwright makes no exception for this machine.
  const cookies = await page.context().cookies();
  const Cookie = cookies.map(({ name, value }) => `${name}=${value}`).join("; ");
  const answer = await page.request.get(url + path, { headers: { Accept: "text/html", Cookie }, maxRedirects: 5 });
  const status = answer.status();
  // Whatever is written into a form is answered, if only with what is wrong with it.
  if (status !== 200 && !(isForm && status === 400)) {
    throw new Error(`${path}, linked from ${from}, answered ${status}`);
  }
  const isView = answer.headers()["content-type"]?.startsWith("text/html") && !path.startsWith("/docs");
  if (!isView) {
    return { path, isForm, links: [] };
  }
  const html = await answer.text();
  found.push({ path, kind: kindOf(path), isForm, status, html });
  return { path, isForm, links: await page.evaluate(linksOf, { html, samples: SAMPLES }) };
}

/** The links of a document, and those that its filters make. Runs in the page. */
function linksOf({ html, samples }) {
  const root = new DOMParser().parseFromString(html, "text/html");
  const links = [...root.querySelectorAll("a[href]")].map((link) => link.getAttribute("href"));
  // A link that fills in the form for a replay is as a filter of that view.
  const inside = links
    .filter((href) => href.startsWith("/"))
    .map((href) => ({ path: href.split("#")[0], isForm: href.startsWith("/replays?") }));
  const filled = [...root.querySelectorAll('form[method="get"]')].flatMap((form) => {
    const to = form.getAttribute("action").split("#")[0];
    const values = [...form.querySelectorAll("select, input:not([type=hidden])")].flatMap((field) => {
      const choices = [...(field.options ?? [])].map((option) => option.value);
      // Of a long list, the first ones.
      const wanted = field.options ? choices.filter(Boolean).slice(0, 12) : [samples[field.name] ?? "x"];
      return wanted.map((value) => `${to}?${new URLSearchParams({ [field.name]: value })}`);
    });
    return values.map((path) => ({ path, isForm: true }));
  });
  return [...inside, ...filled];
}

/** The path with placeholders, and the names of its parameters; with the values of those that choose what is shown. */
function kindOf(path) {
  const { pathname, searchParams } = new URL(path, url);
  const place = pathname
    .replace(UUID, "{id}")
    .replace(/^(\/routes|\/sources|\/replays)\/[^/]+/, "$1/{name}");
  const choosing = ["body", "status"];
  const parameters = [...searchParams].map(([name, value]) => (choosing.includes(name) ? `${name}=${value}` : name));
  return [place, ...parameters.sort()].join(" ");
}
