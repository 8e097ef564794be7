// Keeps the dashboard live: the stream says when the figures have changed, and then the page is fetched anew.

const PAUSE_MS = 2_000;
const RETRY_MS = 30_000;
const MAX_TRIES = 3;

const shown = document.getElementById("dashboard");
const note = document.getElementById("live-note");
let stream = null;
let announced = "";
let tries = 0;
let isFetching = false;
let timer = 0;

const isSelected = (element) => {
  const selection = getSelection();
  return !selection.isCollapsed && selection.containsNode(element, true);
};

const tell = (text) => { note.textContent = text && ` · ${text}`; };

const stop = (text) => {
  stream?.close();
  stream = null;
  tell(text);
};

/** Fetch the page, and replace what differs in it; return whether it is still the dashboard. */
const replace = async () => {
  const answer = await fetch(location.href, { cache: "no-store" });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById("dashboard");
  if (answer.status >= 500) throw new Error(`status ${answer.status}`);
  if (!fresh) return false;
  for (const element of shown.querySelectorAll("[data-live]")) {
    const next = fresh.querySelector(`[data-live="${element.dataset.live}"]`);
    if (next && next.innerHTML !== element.innerHTML && !isSelected(element)) element.replaceChildren(...next.childNodes);
  }
  shown.dataset.version = fresh.dataset.version;
  return true;
};

/** Bring the page up to date. Another process may have answered, whose figures are a little older: then again. */
const refresh = async () => {
  clearTimeout(timer);
  if (isFetching) return;
  isFetching = true;
  tries += 1;
  try {
    if (!await replace()) return stop("not live any more: reload the page");
  } catch { /* The next change, or the next try, brings it. */ } finally { isFetching = false; }
  if (shown.dataset.version !== announced && tries < MAX_TRIES) timer = setTimeout(refresh, PAUSE_MS);
};

const open = () => {
  if (stream || document.hidden) return;
  const source = new EventSource(`${shown.dataset.stream}&seen=${shown.dataset.version}`);
  stream = source;
  source.onopen = () => tell("live");
  source.onmessage = ({ data }) => {
    announced = data;
    tries = 0;
    if (data !== shown.dataset.version) refresh();
  };
  source.onerror = () => {
    if (source.readyState !== EventSource.CLOSED || stream !== source) return; // It reconnects by itself.
    stop("not live");
    setTimeout(open, RETRY_MS);
  };
};

document.addEventListener("visibilitychange", () => (document.hidden ? stop("") : open()));
open();
