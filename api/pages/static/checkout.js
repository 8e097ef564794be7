// The delivery form: creates a payment session, sends the prompt, and opens the payment's page.
import { createSession, failed, initiatePayment, showTrouble } from "./api.js";
import { enable } from "./live.js";

const form = document.getElementById("delivery");
const pay = document.getElementById("pay");
const progress = document.getElementById("progress");
const NESTED = "delivery_details.";
let opened = null;

const valueOf = (field) => {
  const text = field.value.trim();
  return "whole" in field.dataset && text ? Number(text) : text;
};

/** Return the filled fields as the API takes them: delivery details, and the optional rest. */
const read = () => {
  const details = {};
  const optional = {};
  for (const field of form.elements) {
    const value = field.name ? valueOf(field) : "";
    if (value !== "" && field.name.startsWith(NESTED)) details[field.name.slice(NESTED.length)] = value;
    else if (value !== "") optional[field.name] = value;
  }
  return { details, optional };
};

/** Show each message beside its field; return whether every message found its field. */
const showErrors = (errors) => {
  const left = new Set(Object.keys(errors));
  let first = null;
  for (const field of form.elements) {
    const place = document.getElementById(`${field.name}-wrong`);
    if (!place) continue;
    const messages = errors[field.name];
    left.delete(field.name);
    place.textContent = messages ? (!field.value.trim() && place.dataset.missing) || messages.join(" ") : "";
    if (messages) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
    first ??= messages ? field : null;
  }
  first?.focus();
  return left.size === 0 && first !== null;
};

/** Return the session of exactly this form: a retry after a prompt that was not sent needs no second session. */
const sessionOf = async ({ details, optional }) => {
  const content = JSON.stringify([details, optional]);
  if (opened?.content === content) return opened.session;
  const session = await createSession(details, optional);
  opened = failed(session) ? null : { content, session };
  return session;
};

const checkout = async () => {
  const wanted = read();
  const session = await sessionOf(wanted);
  if (failed(session)) return session;
  progress.textContent = "Asking M-Pesa to send the payment request…";
  const payment = await initiatePayment(session.session_id, wanted.details.phone_number);
  if (payment.error_code?.startsWith("SESSION_") || payment.error_code === "TOO_MANY_ATTEMPTS") opened = null;
  if (!failed(payment)) location.assign(`/shop/sessions/${session.session_id}/`);
  return payment;
};

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (pay.disabled) return;
  pay.disabled = true;
  pay.ariaBusy = "true";
  progress.textContent = "Preparing your payment…";
  showTrouble(null);
  const answer = await checkout();
  if (!failed(answer)) return;
  const shown = showErrors(answer.errors ?? {});
  showTrouble(shown ? null : answer);
  progress.textContent = shown ? "Please correct the marked fields." : "";
  pay.disabled = false;
  pay.ariaBusy = "false";
});

// A page restored from the browser's cache still has its button disabled.
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

enable();
