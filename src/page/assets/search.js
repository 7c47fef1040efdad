// Goes on with a search in bodies until its page is full, or everything was searched. Without this script, the link to
// older webhooks does.

// Seconds to wait before hookbox is asked again, if it could not search: twice as many each time. After the last, the
// search stops.
const FIRST_PAUSE = 1;
const LAST_PAUSE = 32;

// Milliseconds between two announcements of how far the search has come.
const ANNOUNCE_EVERY = 10000;

const search = document.getElementById('search');
const list = document.getElementById('rows');
const none = document.getElementById('none');
const text = document.getElementById('searched');
const [found, since, state] = text.children;
const further = state.textContent;
const status = document.getElementById('search-status');
const button = document.getElementById('search-stop');
const older = document.querySelector('a[rel=next]');
// How many rows the page has room for.
let room = Number(search.dataset.room);
// Ends the search that goes on; null if none does.
let running = null;
let announcedAt = 0;

const matches = () => `${list.rows.length} ${list.rows.length === 1 ? 'webhook' : 'webhooks'}`;

function show(words) {
  found.textContent = matches();
  state.textContent = words;
  if (!running || Date.now() - announcedAt >= ANNOUNCE_EVERY) announce();
}

function announce() {
  status.textContent = text.textContent;
  announcedAt = Date.now();
}

async function goOn() {
  running = new AbortController();
  const { signal } = running;
  button.textContent = 'Stop';
  show('Searching on…');
  let pause = FIRST_PAUSE;
  while (!signal.aborted) {
    while (document.hidden) await shown();
    const part = await ask(signal);
    if (signal.aborted) return;
    if (part) {
      pause = FIRST_PAUSE;
      add(part);
    } else if (pause > LAST_PAUSE) {
      stop('hookbox cannot search now. “Go on” tries again.');
    } else {
      show(`hookbox cannot search now. This page tries again in ${pause} s.`);
      await new Promise((resolve) => { setTimeout(resolve, pause * 1000); });
      pause *= 2;
    }
  }
}

const shown = () => new Promise((resolve) => {
  document.addEventListener('visibilitychange', resolve, { once: true });
});

// The document with the next part; null if hookbox could not search.
async function ask(signal) {
  const next = new URL(older.href);
  next.searchParams.set('page_size', room);
  try {
    const answer = await fetch(next, { headers: { Accept: 'text/html' }, redirect: 'manual', signal });
    if (answer.status === 429 || answer.status >= 500) return null;
    return new DOMParser().parseFromString(await answer.text(), 'text/html');
  } catch {
    return null;
  }
}

function add(part) {
  const rows = part.getElementById('rows');
  if (!rows) {
    // Such as the login, or what is wrong.
    stop('hookbox does not go on. “Older” says why.');
    return;
  }
  // What is done in a row leads back to this page, not to the part.
  for (const back of rows.querySelectorAll('input[name=back]')) back.value = search.dataset.back;
  list.append(...rows.children);
  none.replaceChildren(...list.rows.length > 0 ? [] : part.getElementById('none').childNodes);
  const next = part.querySelector('a[rel=next]');
  if (!next) {
    finish(true);
    text.textContent = `Searched to the end: ${matches()}.`;
    announce();
    return;
  }
  const href = new URL(older.href);
  href.searchParams.set('page_token', new URL(next.href).searchParams.get('page_token'));
  older.href = href;
  room = Number(part.getElementById('search').dataset.room);
  since.replaceChildren(...part.getElementById('searched').children[1].childNodes);
  if (room > 0) {
    show('Searching on…');
  } else {
    finish(false);
    show(further);
  }
}

function stop(words) {
  running.abort();
  running = null;
  button.textContent = 'Go on';
  show(words);
}

// There is nothing to go on with. The focus is not lost with what had it.
function finish(isEnd) {
  running.abort();
  running = null;
  const gone = isEnd ? [button, older] : [button];
  const hadFocus = gone.includes(document.activeElement);
  for (const element of gone) element.hidden = true;
  if (hadFocus) text.focus({ preventScroll: true });
}

button.onclick = () => {
  if (running) stop('Stopped.');
  else goOn();
};

document.addEventListener('keydown', (event) => {
  const isOfAnother = event.target.closest?.('details.confirm, dialog, input, select, textarea');
  if (event.key === 'Escape' && running && !isOfAnother) stop('Stopped.');
});

button.hidden = false;
goOn();
