// What is checked of a view that is open.

/** Fails if the window scrolls sideways, or a text sticks out of its place. Wide tables may scroll in a box of their own. */
export async function fits(page) {
  const told = await page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    const places = "header, main, footer, section, figure, dd, td, li, p, h1, h2, .tile, .notice, .head > *";
    const sticksOut = (element) =>
      element.scrollWidth > element.clientWidth + 1 &&
      element.clientWidth > 0 &&
      element.checkVisibility() &&
      getComputedStyle(element).overflowX === "visible";
    const wide = [...document.querySelectorAll(places)].filter(sticksOut);
    const parts = wide.slice(-5).map((element) => {
      const name = [element.tagName.toLowerCase(), ...element.classList].join(".");
      return `${element.scrollWidth} of ${element.clientWidth} px: ${name} “${element.textContent.slice(0, 80)}”`;
    });
    return scrollWidth > clientWidth ? [`${scrollWidth} of ${clientWidth} px: the window`, ...parts] : parts;
  });
  if (told.length > 0) {
    throw new Error(`is too wide:\n  ${told.join("\n  ")}`);
  }
}

/**
 * Fails if a view breaks some rules of axe-core, in a theme or width in which the others cannot have changed.
 * `accessible` has to have been called for the view before.
 */
export async function keeps(page, rules) {
  const { violations } = await page.evaluate((rules) => window.axe.run({ runOnly: rules, preload: false }), rules);
  if (violations.length > 0) {
    const told = violations.flatMap(({ id, nodes }) =>
      nodes.map(({ target, failureSummary }) => `${id} at ${target}: ${failureSummary}`),
    );
    throw new Error(`is not accessible:\n  ${told.join("\n  ")}`);
  }
}

/**
 * Walks through a view with Tab. Fails if something that can be used is not reached, if the focus cannot be seen where
 * it is, or if the walk does not come round.
 */
export async function reachableByKeyboard(page) {
  // What is replaced meanwhile cannot be followed.
  const live = page.getByRole("button", { name: "Live", exact: true });
  if (await live.isVisible()) {
    await live.click();
  }
  const all = await page.evaluate(mark);
  const reached = new Set();
  const faults = [];
  let previous = null;
  for (let step = 0; step < 4 * all.length + 40; step += 1) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(focused);
    if (at && at.number !== previous) {
      if (reached.has(at.number)) {
        const missed = all.filter(({ number }) => !reached.has(number)).map(({ name }) => `is not reached: ${name}`);
        return failed([...faults, ...missed]);
      }
      reached.add(at.number);
      faults.push(...at.faults.map((fault) => `${fault}: ${at.name}`));
    }
    previous = at?.number ?? null;
  }
  return failed([...faults, "the focus does not come back to where it began"]);
}

function failed(faults) {
  if (faults.length > 0) {
    throw new Error(`cannot be used with the keyboard:\n  ${faults.join("\n  ")}`);
  }
}

/** Numbers what can have the focus, and remembers how it looks without. Runs in the page. */
function mark() {
  document.activeElement?.blur();
  scrollTo(0, 0);
  const usable = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']";
  const look = (element) => {
    const { outlineStyle, outlineWidth, outlineColor, boxShadow } = getComputedStyle(element);
    return outlineStyle === "none" ? boxShadow : [outlineStyle, outlineWidth, outlineColor, boxShadow].join(" ");
  };
  const name = (element) => {
    const label = element.getAttribute("aria-label") ?? element.name ?? element.textContent;
    return `${element.tagName.toLowerCase()} “${(label || element.textContent).trim().slice(0, 60)}”`;
  };
  const isUsable = (element) =>
    element.matches(usable) && !element.disabled && element.checkVisibility({ checkVisibilityCSS: true });
  const everything = [...document.querySelectorAll("body *")];
  window.walked = { look, name, number: new Map(), looks: new Map() };
  for (const [number, element] of everything.entries()) {
    window.walked.number.set(element, number);
    window.walked.looks.set(element, look(element));
  }
  const found = everything.filter(isUsable);
  return found.map((element) => ({ number: window.walked.number.get(element), name: name(element) }));
}

/** What has the focus, and what is wrong with it; none if nothing has it. Runs in the page. */
function focused() {
  const { look, name, number, looks } = window.walked;
  const element = document.activeElement;
  if (!element || element === document.body || element === document.documentElement) {
    return null;
  }
  const faults = [];
  if (look(element) === looks.get(element)) {
    faults.push("looks the same with the focus");
  }
  // A link can be broken into several lines.
  const boxes = [...element.getClientRects()].filter(({ width, height }) => width > 0 && height > 0);
  const isSeen = boxes.some(({ left, top, width, height }) => {
    const inside = (start, size, most) => Math.min(Math.max(start + size / 2, 1), most - 2);
    const hit = document.elementFromPoint(inside(left, width, innerWidth), inside(top, Math.min(height, 60), innerHeight));
    return hit !== null && (element.contains(hit) || hit.contains(element) && hit.matches("label, summary"));
  });
  if (!isSeen) {
    faults.push("is hidden while it has the focus");
  }
  return { number: number.get(element), name: name(element), faults };
}
