// The payment's page: hears where the payment stands, sends the request again, or starts anew.
import { createSession, failed, initiatePayment, pollSessionStatus, tell } from "./api.js";
import { showAnew } from "./live.js";

const POLL_MS = 2_000;
const WATCH_FOR_MS = 300_000;
const PATIENT_TRIES = 2;
const OUT_OF_TOUCH = { message: "The shop does not answer at this moment. We keep trying; your payment is safe." };
const GAVE_UP = { message: "We have stopped looking. Reload the page to see where the payment stands." };
const OPEN = new Set(["pending", "payment_initiated", "paid"]);
const started = Date.now();
let troubles = 0;
let retryTimer = null;

const payment = () => document.getElementById("payment");

/** Show what has changed; return whether more is to come. */
const look = (data) => {
  const { version, status } = payment().dataset;
  if (data.session_status === "order_created") location.assign(`/shop/orders/${data.order.order_id}/`);
  else if (data.version > Number(version) || data.session_status !== status) showAnew();
  return OPEN.has(data.session_status);
};

const inTouch = (isInTouch) => {
  if (isInTouch && troubles) tell(null);
  troubles = isInTouch ? 0 : troubles + 1;
  if (troubles === PATIENT_TRIES) tell(OUT_OF_TOUCH);
};

/** Hear of each change as it comes. A stream that ends is opened again by the browser; one that is refused, asked for. */
const listen = () => {
  const source = new EventSource(payment().dataset.stream);
  const giveUp = setTimeout(() => { source.close(); tell(GAVE_UP); }, WATCH_FOR_MS);
  const stop = () => { source.close(); clearTimeout(giveUp); };
  source.onopen = () => inTouch(true);
  source.onmessage = (event) => { if (!look(JSON.parse(event.data))) stop(); };
  source.onerror = () => {
    inTouch(false);
    if (source.readyState !== EventSource.CLOSED) return;
    stop();
    ask();
  };
};

/** Ask every two seconds, for as long as the guide's checkout does. */
const ask = async () => {
  if (Date.now() - started > WATCH_FOR_MS) {
    tell(GAVE_UP);
    return;
  }
  const data = await pollSessionStatus(payment().dataset.session);
  inTouch(!failed(data));
  if (failed(data) || look(data)) setTimeout(ask, POLL_MS);
};

/** Show the page anew when its buyer may try again: time alone brings no event. */
const awaitRetry = () => {
  clearTimeout(retryTimer);
  const seconds = Number(payment().dataset.retry);
  if (seconds > 0 && OPEN.has(payment().dataset.status)) retryTimer = setTimeout(showAnew, seconds * 1000);
};

const pressed = async (button, act) => {
  if (button.disabled) return;
  button.disabled = true;
  button.ariaBusy = "true";
  tell(null);
  const answer = await act();
  if (failed(answer)) {
    tell(answer);
    button.disabled = false;
    button.ariaBusy = "false";
  }
};

const sendRequest = async () => {
  const answer = await initiatePayment(payment().dataset.session);
  if (!failed(answer)) showAnew();
  return answer;
};

/** Start again with the same cart and details; the new payment has a page of its own. */
const startAnew = async () => {
  const { delivery, wishes } = payment().dataset;
  const session = await createSession(JSON.parse(delivery), JSON.parse(wishes));
  if (failed(session)) return session;
  await initiatePayment(session.session_id);
  location.assign(`/shop/sessions/${session.session_id}/`);
  return session;
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.id === "pay") pressed(button, sendRequest);
  if (button?.id === "again") pressed(button, startAnew);
});

document.addEventListener("htmx:afterSettle", () => {
  const heading = document.querySelector("#payment h1").textContent;
  const sentence = document.querySelector("#payment .says").textContent;
  document.title = `${heading} · Soko`;
  document.getElementById("said").textContent = `${heading}. ${sentence}`;
  awaitRetry();
});

awaitRetry();
if (OPEN.has(payment().dataset.status)) listen();
