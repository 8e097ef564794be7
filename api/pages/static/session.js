// The payment's page: watches where the payment stands, sends the request again, or starts anew.
import { createSession, failed, initiatePayment, pollSessionStatus, tell } from "./api.js";

const POLL_MS = 500;
const POLL_FOR_MS = 300_000;
const GAVE_UP = { message: "We have stopped looking. Reload the page to see where the payment stands." };
const OPEN = new Set(["pending", "payment_initiated", "paid"]);
const started = Date.now();
let outOfTouch = false;

const payment = () => document.getElementById("payment");

const showAnew = () => htmx.trigger("#live", "changed");

/** Look twice a second, for as long as the guide's checkout does, and show what has changed until it is settled. */
const watch = async () => {
  if (Date.now() - started > POLL_FOR_MS) {
    tell(GAVE_UP);
    return;
  }
  const { session, version, status } = payment().dataset;
  const data = await pollSessionStatus(session);
  if (failed(data) || outOfTouch) tell(failed(data) ? data : null);
  outOfTouch = failed(data);
  if (!outOfTouch && (data.version > Number(version) || data.session_status !== status)) showAnew();
  if (outOfTouch || OPEN.has(data.session_status)) setTimeout(watch, POLL_MS);
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
});

if (OPEN.has(payment().dataset.status)) watch();
