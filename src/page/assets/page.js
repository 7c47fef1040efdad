// Makes the page live. Everything works without it.

const find = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// Times, in the same words as in parts/time.rs, and by the clock of the server: that of this machine may be wrong.

// Milliseconds by which the clock of this machine is ahead.
let ahead = 0;

// Takes the time of the server from a document that has just come.
function setClock(root) {
  const time = find('footer time', root);
  if (time) ahead = Date.now() - Date.parse(time.dateTime);
}

function ago(at) {
  const seconds = Math.trunc((Date.now() - ahead - at) / 1000);
  const distance = Math.abs(seconds);
  if (distance === 0) return 'now';
  const text = distance < 60 ? `${distance} s`
    : distance < 3600 ? `${Math.trunc(distance / 60)} min`
    : distance < 172800 ? `${Math.trunc(distance / 3600)} h`
    : `${Math.trunc(distance / 86400)} d`;
  return seconds > 0 ? `${text} ago` : `in ${text}`;
}

function showTimes(root) {
  for (const time of all('time[data-ago]', root)) {
    const text = ago(Date.parse(time.dateTime));
    if (time.textContent !== text) time.textContent = text;
  }
}

// Copying

function showCopyButtons(root) {
  for (const button of all('[data-copy], [data-copy-from]', root)) button.hidden = false;
}

async function copy(button) {
  const from = button.dataset.copyFrom;
  const text = from ? document.getElementById(from)?.textContent ?? '' : button.dataset.copy;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Browsers have no clipboard for pages over plain HTTP.
    const area = document.createElement('textarea');
    area.className = 'visually-hidden';
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand('copy');
    area.remove();
    button.focus();
  }
  button.textContent = 'Copied';
  setTimeout(() => { button.textContent = 'Copy'; }, 1500);
}

// Live views

const stream = document.body.dataset.stream;
const liveButton = document.getElementById('live');
const POLL = 10000;
// After so many polls the stream is tried again: a proxy may have refused it only while hookbox restarted.
const POLLS_BEFORE_STREAM = 6;
let source = null;
let poll = 0;
let polled = 0;
let isPaused = false;
let isLost = false;
let isLoading = false;
let isStale = false;

const isLive = () => find('[data-live]') !== null;

async function refresh() {
  // While paused, new rows are still counted.
  const isWaiting = isPaused && !find('[data-live=list]');
  if (isLoading || isWaiting || document.hidden) {
    isStale = true;
    return;
  }
  isLoading = true;
  isStale = false;
  try {
    // Browsers that load the same view share an answer, because of the second header.
    const headers = { Accept: 'text/html', 'Hookbox-Refresh': '1' };
    const answer = await fetch(location.href, { headers, redirect: 'manual' });
    if (answer.type === 'opaqueredirect') {
      location.reload();
    } else if (answer.ok) {
      update(new DOMParser().parseFromString(await answer.text(), 'text/html'));
      if (poll) polled += 1;
      if (polled >= POLLS_BEFORE_STREAM) {
        stop();
        start();
      }
    }
  } catch {
    // The server is away. The next event, or the next poll, tries again.
  }
  isLoading = false;
  if (isStale) setTimeout(refresh, 1000);
}

// The parts of this document that are live, each with that of a newer document.
function renewed(fresh) {
  const pairs = all('[data-live][id]').map((element) => [element, fresh.getElementById(element.id)]);
  return pairs.filter(([, other]) => other);
}

function update(fresh) {
  setClock(fresh);
  for (const [element, other] of renewed(fresh)) {
    const { live } = element.dataset;
    if (live === 'list') updateList(element, other, fresh);
    else if (!live && !isPaused && !isInUse(element)) replace(element, other);
  }
  if (!isLive()) stop();
}

// Whether the user is typing, selecting or answering there.
function isInUse(element) {
  const active = document.activeElement;
  const selection = getSelection();
  return find('details.confirm[open]', element) !== null
    || (element.contains(active) && active.matches('input, select, textarea'))
    || (!selection.isCollapsed && element.contains(selection.anchorNode));
}

function replace(element, other) {
  const active = element.contains(document.activeElement) ? document.activeElement : null;
  const href = active?.getAttribute('href');
  for (const details of all('details[id]', element)) {
    const same = other.querySelector(`#${CSS.escape(details.id)}`);
    if (same) same.open = details.open;
  }
  const scrolled = all('[id]', element).filter((part) => part.scrollTop > 0).map((part) => [part.id, part.scrollTop]);
  const placed = document.importNode(other, true);
  element.replaceWith(placed);
  adorn(placed);
  for (const [id, top] of scrolled) document.getElementById(id)?.scrollTo(0, top);
  const again = active?.id ? document.getElementById(active.id)
    : href && all('a[href]', placed).find((link) => link.getAttribute('href') === href);
  again?.focus({ preventScroll: true });
}

// Rows that are shown stay where they are. New ones come by themselves only while the reader is at the top, and are
// counted otherwise.
function updateList(list, other, fresh) {
  const known = new Set(all('tr[data-id]', list).map((row) => row.dataset.id));
  const isKnown = (row) => known.has(row.dataset.id);
  const rows = all('tr[data-id]', other);
  const lastKnown = rows.findLastIndex(isKnown);
  // What comes after the rows that are shown is older.
  const added = rows.slice(0, lastKnown < 0 ? rows.length : lastKnown).filter((row) => !isKnown(row));
  const isKept = isPaused || isInUse(list);
  const isAtTop = scrollY < 200 && !list.contains(document.activeElement);
  if (!isKept && (added.length === 0 || isAtTop || known.size === 0)) {
    for (const row of known.size === 0 ? [] : added) row.classList.add('fresh');
    takeOver(fresh, '[data-live=list], [data-live=with-list]');
    return;
  }
  if (!isKept) updateRows(list, rows);
  const hasMore = lastKnown < 0 && find('a[rel=next]', fresh);
  if (added.length === 0) hideNew();
  else showNew(list, `${added.length}${hasMore ? ' or more' : ''} new`, fresh);
}

function updateRows(list, rows) {
  for (const row of rows) {
    const shown = find(`tr[data-id="${CSS.escape(row.dataset.id)}"]`, list);
    if (shown && !shown.contains(document.activeElement) && shown.innerHTML !== row.innerHTML) {
      const placed = document.importNode(row, true);
      shown.replaceWith(placed);
      adorn(placed);
    }
  }
}

// Shows a button that takes over what a newer document has, also while the view is paused.
function showNew(list, label, fresh) {
  let button = find('.new-rows');
  if (!button) {
    button = document.createElement('button');
    button.type = 'button';
    button.className = 'new-rows primary';
    const table = list.closest('.table') ?? list.closest('table') ?? list;
    table.before(button);
  }
  button.textContent = label;
  button.onclick = () => {
    scrollTo(0, 0);
    takeOver(fresh, '[data-live]');
  };
}

// Shows these live parts as a newer document has them. A list and what depends on its rows come from the same one:
// otherwise the link to older rows would leave some out.
function takeOver(fresh, selector) {
  for (const [element, other] of renewed(fresh)) {
    if (element.matches(selector)) replace(element, other);
  }
  hideNew();
}

function hideNew() {
  find('.new-rows')?.remove();
}

function start() {
  if (!stream || source || poll || !isLive()) return;
  source = new EventSource(stream);
  source.addEventListener('change', refresh);
  source.onopen = () => {
    isLost = false;
    showLive();
  };
  source.onerror = () => {
    // Closed for good: there are too many streams, or a proxy lets none through.
    if (source?.readyState === EventSource.CLOSED) {
      stop();
      poll = setInterval(refresh, POLL);
    } else if (source) {
      // The browser connects again by itself.
      isLost = true;
    }
    showLive();
  };
}

function stop() {
  source?.close();
  source = null;
  isLost = false;
  clearInterval(poll);
  poll = 0;
  polled = 0;
  showLive();
}

const POLLS = 'Too many pages are live, or a proxy lets no stream through: this page loads again at intervals.';
const LOST = 'hookbox does not answer. This page shows what it was last told, and goes on once there is an answer.';

// Says whether changes show at once, at intervals, or not at all.
function showLive() {
  if (!liveButton) return;
  liveButton.setAttribute('aria-pressed', String(!isPaused));
  liveButton.textContent = isPaused ? 'Paused' : isLost ? 'Not connected' : poll ? `Every ${POLL / 1000} s` : 'Live';
  liveButton.title = isLost ? LOST : poll ? POLLS : '';
}

if (liveButton && stream && isLive()) {
  liveButton.hidden = false;
  liveButton.onclick = () => {
    isPaused = !isPaused;
    showLive();
    if (!isPaused) refresh();
  };
}

document.addEventListener('visibilitychange', () => {
  if (document.hidden) stop();
  else start();
});
addEventListener('pagehide', stop);
addEventListener('pageshow', start);

// Keys

const isTyping = (target) => target.closest?.('input, select, textarea, [contenteditable]') !== null;

function walk(step) {
  const links = all('tr[data-row]').map((row) => find('a[href]', row)).filter(Boolean);
  const at = links.findIndex((link) => link.closest('tr').contains(document.activeElement));
  const next = links[at < 0 ? (step > 0 ? 0 : links.length - 1) : Math.min(Math.max(at + step, 0), links.length - 1)];
  next?.focus();
  next?.closest('tr').scrollIntoView({ block: 'nearest' });
}

// Goes to the field of this view that searches or filters. Other views lead to that of the list of webhooks, unless what
// was written in them would be lost.
function search() {
  const field = find('input[type=search], form.filters input:not([type=hidden]), form.filters select');
  const list = find('nav.views a[href$="/webhooks"]');
  const isWritten = all('input, textarea').some((written) => written.value !== written.defaultValue);
  if (field) field.focus();
  else if (list && !isWritten) location.assign(`${list.href}#find`);
}

// Opens the form that retries the row with the focus, or what the view shows.
function openRetry() {
  const place = document.activeElement.closest('tr[data-row]') ?? find('.head');
  const details = place && find('form[action$="/retry"]', place)?.closest('details.confirm');
  if (!details) return;
  details.open = true;
  find('input:not([type=hidden])', details).focus();
}

function close(details) {
  if (details.contains(document.activeElement)) find('summary', details).focus();
  details.open = false;
}

const KEYS = {
  '/': search,
  'j': () => walk(1),
  'k': () => walk(-1),
  'r': openRetry,
  '?': () => document.getElementById('keys')?.showModal(),
};

document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape') {
    all('details.confirm[open]').forEach(close);
    // So that the other keys work again.
    if (event.target.type === 'search') event.target.blur();
  }
  const does = KEYS[event.key];
  const isOurs = does && !event.ctrlKey && !event.metaKey && !event.altKey && !isTyping(event.target);
  if (isOurs && !find('dialog[open]')) {
    event.preventDefault();
    does();
  }
});

document.addEventListener('click', (event) => {
  const button = event.target.closest('[data-copy], [data-copy-from]');
  if (button) copy(button);
});

// An open question closes once the reader goes elsewhere.
for (const type of ['click', 'focusin']) {
  document.addEventListener(type, (event) => {
    for (const details of all('details.confirm[open]')) {
      if (!details.contains(event.target)) details.open = false;
    }
  });
}

// At the start

function adorn(root) {
  showCopyButtons(root);
  showTimes(root);
}

if (find('[data-once]')) {
  const here = new URL(location.href);
  here.searchParams.delete('notice');
  here.searchParams.delete('seal');
  history.replaceState(history.state, '', here);
}

if (location.hash === '#find') document.getElementById('find')?.focus();
setClock(document);
adorn(document);
setInterval(() => showTimes(document), 1000);
start();
