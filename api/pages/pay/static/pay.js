// The payment page, kept up to date: the API's stream by fetch, with the link as token, and a slow poll where that fails.
// Forms are plain forms: all of the page works without this script.

const RETRY_MS = 3_000;
const STREAM_MS = 320_000;
const OPEN = new Set(["pending", "payment_initiated", "paid"]);
const link = location.pathname.split("/")[2];
const facts = () => document.querySelector("#live > [data-session]").dataset;
const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

/** Fetch the page anew and replace what is live, but keep what the buyer is typing, and the focus. Throws without an answer. */
const refresh = async () => {
  const response = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(20_000) });
  if (response.status === 404) {
    location.reload();
    return;
  }
  if (!response.ok) throw new Error(String(response.status));
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const fresh = page.getElementById("live");
  const typed = document.getElementById("phone")?.value;
  const focused = document.activeElement?.id;
  const isOpen = document.querySelector(".by-hand")?.open;
  const before = facts().name;
  document.getElementById("live").replaceChildren(...fresh.childNodes);
  document.querySelector("#payment .refused")?.removeAttribute("role");
  const field = document.getElementById("phone");
  if (typed && field) field.value = typed;
  if (isOpen && document.querySelector(".by-hand")) document.querySelector(".by-hand").open = true;
  if (focused) document.getElementById(focused)?.focus();
  if (facts().name !== before) {
    const heading = document.querySelector("#payment h1").textContent;
    document.getElementById("said").textContent = `${heading}. ${document.querySelector("#payment .says").textContent}`;
  }
  const phone = page.getElementById("phone-of-buyer");
  if (!phone) document.querySelector(".phone")?.remove();
  prepare();
};

const setInTouch = (isInTouch) => {
  const place = document.getElementById("offline");
  place.hidden = isInTouch;
  place.textContent = isInTouch ? "" : place.dataset.text;
};

const hasChanged = (status) =>
  status.version > Number(facts().version) || status.session_status !== facts().status;

/** Read server-sent events until the stream ends; refresh at each that tells something new. */
const readStream = async () => {
  const response = await fetch(`/api/payments/sessions/${facts().session}/stream/`, {
    headers: { Authorization: `Bearer ${link}`, "Last-Event-ID": facts().version },
    cache: "no-store",
    signal: AbortSignal.timeout(STREAM_MS),
  });
  if (!response.ok) throw new Error(String(response.status));
  if (!response.body) {
    await refresh();
    return;
  }
  setInTouch(true);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    text += part.value;
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) {
      const line = event.split("\n").find((each) => each.startsWith("data: "));
      if (line && hasChanged(JSON.parse(line.slice(6)))) await refresh();
    }
  }
};

const follow = async () => {
  while (OPEN.has(facts().status)) {
    try {
      await readStream();
    } catch {
      try {
        await refresh();
        setInTouch(true);
      } catch {
        setInTouch(false);
      }
    }
    await wait(RETRY_MS);
  }
};

/** Show the minutes left, and the page anew once the buyer may try again or the time is over. */
let timers = [];
const prepare = () => {
  timers.forEach(clearTimeout);
  timers = [];
  for (const button of document.querySelectorAll("[data-copy], [data-print]")) button.hidden = false;
  if (!OPEN.has(facts().status)) return;
  const seconds = Number(facts().retry);
  if (seconds > 0) timers.push(setTimeout(() => refresh().catch(() => setInTouch(false)), seconds * 1000));
  countDown();
};

const countDown = () => {
  const place = document.getElementById("left");
  const seconds = Math.max(0, Math.round((Date.parse(facts().until) - Date.now()) / 1000));
  if (!place) return;
  const shown = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  place.textContent = place.dataset.text.replace("{}", shown);
  if (seconds > 0) timers.push(setTimeout(countDown, 1000));
  else if (facts().status === "pending") timers.push(setTimeout(() => refresh().catch(() => setInTouch(false)), 2000));
};

document.addEventListener("submit", (event) => {
  const button = event.submitter;
  if (button?.ariaBusy === "true") event.preventDefault();
  else if (button) button.ariaBusy = "true";
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  if (button && "print" in button.dataset) print();
  if (button?.dataset.copy) {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = button.dataset.done;
    document.getElementById("said").textContent = button.dataset.done;
  }
});

// A page restored from the browser's cache shows what was.
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

prepare();
follow();
