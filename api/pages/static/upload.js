// Sends a statement in pieces, and then shows how far its import is.

const TIMEOUT_MS = 30_000;
const MAX_TRIES = 5;
const PAUSE_MS = 1_000;
const NO_ANSWER = "The console did not answer. Check your connection and upload the file again: nothing is recorded twice.";

const form = document.querySelector("#upload");
const under = document.querySelector("#import[data-under-way]");

const pause = () => new Promise((done) => setTimeout(done, PAUSE_MS));

/** Return what the console says about a request that it refused. */
const refusalIn = async (response) => {
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  return page.querySelector("[role=alert]")?.textContent ?? NO_ANSWER;
};

/** Send a form, again where there is no answer: each may be repeated. A refusal is thrown. */
const post = async (path, fields) => {
  const body = new FormData();
  body.append("proof", form.elements.proof.value);
  for (const [name, value] of Object.entries(fields)) body.append(name, value);
  for (let tries = 1; ; tries += 1) {
    const response = await fetch(path, { method: "POST", body, redirect: "manual", signal: AbortSignal.timeout(TIMEOUT_MS) }).catch(() => null);
    if (response?.ok) return response;
    if (response?.type === "opaqueredirect") location.reload(); // The token has ended: the page asks for another.
    const isOver = response !== null && response.status < 500 && response.status !== 429;
    if (isOver || tries === MAX_TRIES) throw new Error(response ? await refusalIn(response) : NO_ANSWER);
    await pause();
  }
};

const upload = async (file, bar) => {
  const { path, piece_bytes: size } = await (await post(form.action, { bytes: file.size })).json();
  for (let sent = 0; sent < file.size; sent += size) {
    await post(`${path}pieces/${sent / size}/`, { piece: file.slice(sent, sent + size) });
    bar.value = Math.min(1, (sent + size) / file.size);
  }
  await post(`${path}finish/`, {});
  location.assign(path);
};

const follow = async () => {
  await pause();
  const response = await fetch(location.href, { redirect: "manual" }).catch(() => null);
  if (response?.type === "opaqueredirect") return location.reload();
  const page = response && new DOMParser().parseFromString(await response.text(), "text/html");
  const now = page?.querySelector("#import");
  if (page && !now) return location.reload();
  if (now && now.innerHTML !== under.innerHTML) under.innerHTML = now.innerHTML;
  return !now || "underWay" in now.dataset ? follow() : undefined;
};

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const [button, bar, wrong] = ["button", "progress", "[role=alert]"].map((name) => form.querySelector(name));
  [button.disabled, bar.hidden, bar.value, wrong.textContent] = [true, false, 0, ""];
  try {
    await upload(form.elements.file.files[0], bar);
  } catch (error) {
    [bar.hidden, wrong.textContent] = [true, error.message];
  } finally {
    button.disabled = false;
  }
});
if (form) form.hidden = false;
if (under) follow();
