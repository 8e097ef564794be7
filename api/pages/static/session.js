// The page of a payment: follows its status, sends the request again, or starts a new checkout.
import { createSession, failed, initiatePayment, pollSessionStatus, showTrouble } from "./api.js";
import { enable, refresh } from "./live.js";

const POLL_MS = 2_000;
const WATCH_FOR_MS = 300_000;
const MAX_SILENT_TRIES = 2;
const OUT_OF_TOUCH = { message: "The shop does not answer at the moment. We keep trying; your payment is safe." };
const GAVE_UP = { message: "This page no longer updates. Reload it to see the status of your payment." };
const OPEN = new Set(["pending", "payment_initiated", "paid"]);
const started = Date.now();
let troubles = 0;
let retryTimer = null;

const payment = () => document.getElementById("payment");

/** Show a change of status; return whether more changes can follow. */
const update = (data) => {
  const { version, status } = payment().dataset;
  if (data.session_status === "order_created") location.assign(`/shop/orders/${data.order.order_id}/`);
  else if (data.version > Number(version) || data.session_status !== status) refresh();
  return OPEN.has(data.session_status);
};

const setInTouch = (isInTouch) => {
  if (isInTouch && troubles) showTrouble(null);
  troubles = isInTouch ? 0 : troubles + 1;
  if (troubles === MAX_SILENT_TRIES) showTrouble(OUT_OF_TOUCH);
};

/** Follow the stream. The browser reopens one that ends; if it is refused, poll instead. */
const follow = () => {
  const source = new EventSource(payment().dataset.stream);
  const giveUp = setTimeout(() => { source.close(); showTrouble(GAVE_UP); }, WATCH_FOR_MS);
  const stop = () => { source.close(); clearTimeout(giveUp); };
  source.onopen = () => setInTouch(true);
  source.onmessage = (event) => { if (!update(JSON.parse(event.data))) stop(); };
  source.onerror = () => {
    setInTouch(false);
    if (source.readyState !== EventSource.CLOSED) return;
    stop();
    poll();
  };
};

/** Poll every two seconds, for as long as the checkout contract's script does. */
const poll = async () => {
  if (Date.now() - started > WATCH_FOR_MS) {
    showTrouble(GAVE_UP);
    return;
  }
  const data = await pollSessionStatus(payment().dataset.session);
  setInTouch(!failed(data));
  if (failed(data) || update(data)) setTimeout(poll, POLL_MS);
};

/** Refresh the page when the buyer may try again: no event says so. */
const awaitRetry = () => {
  clearTimeout(retryTimer);
  const seconds = Number(payment().dataset.retry);
  if (seconds > 0 && OPEN.has(payment().dataset.status)) retryTimer = setTimeout(refresh, seconds * 1000);
};

const act = async (button, action) => {
  if (button.disabled) return;
  button.disabled = true;
  button.ariaBusy = "true";
  showTrouble(null);
  const answer = await action();
  if (failed(answer)) {
    showTrouble(answer);
    button.disabled = false;
    button.ariaBusy = "false";
  }
};

const sendRequest = async () => {
  const answer = await initiatePayment(payment().dataset.session);
  if (!failed(answer)) refresh();
  return answer;
};

/** Start a new checkout with the same cart and details, on a page of its own. */
const restart = async () => {
  const { delivery, optional } = payment().dataset;
  const session = await createSession(JSON.parse(delivery), JSON.parse(optional));
  if (failed(session)) return session;
  await initiatePayment(session.session_id);
  location.assign(`/shop/sessions/${session.session_id}/`);
  return session;
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.id === "pay") act(button, sendRequest);
  if (button?.id === "again") act(button, restart);
});

document.addEventListener("htmx:afterSettle", () => {
  const heading = document.querySelector("#payment h1").textContent;
  const sentence = document.querySelector("#payment .says").textContent;
  document.title = `${heading} · Soko`;
  document.getElementById("said").textContent = `${heading}. ${sentence}`;
  awaitRetry();
});

awaitRetry();
if (OPEN.has(payment().dataset.status)) follow();
enable();
