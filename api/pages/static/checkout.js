// The delivery form: opens a payment session, asks for the prompt, and goes to the payment's page.
import { createSession, failed, initiatePayment, tell } from "./api.js";

const form = document.getElementById("delivery");
const pay = document.getElementById("pay");
const progress = document.getElementById("progress");
const NESTED = "delivery_details.";
let opened = null;

const valueOf = (field) => {
  const text = field.value.trim();
  return "whole" in field.dataset && text ? Number(text) : text;
};

/** Return the filled fields: delivery details apart from the rest, as the API takes them. */
const read = () => {
  const details = {};
  const wishes = {};
  for (const field of form.elements) {
    const value = field.name ? valueOf(field) : "";
    if (value !== "" && field.name.startsWith(NESTED)) details[field.name.slice(NESTED.length)] = value;
    else if (value !== "") wishes[field.name] = value;
  }
  return { details, wishes };
};

/** Show each field's sentences beside it; return whether every one of them found its field. */
const showErrors = (errors) => {
  const left = new Set(Object.keys(errors));
  let first = null;
  for (const field of form.elements) {
    const place = document.getElementById(`${field.name}-wrong`);
    if (!place) continue;
    const sentences = errors[field.name];
    left.delete(field.name);
    place.textContent = sentences ? (!field.value.trim() && place.dataset.missing) || sentences.join(" ") : "";
    if (sentences) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
    first ??= sentences ? field : null;
  }
  first?.focus();
  return left.size === 0 && first !== null;
};

/** Return the session of exactly this form: a second try after a prompt that was not sent needs no second session. */
const sessionOf = async ({ details, wishes }) => {
  const content = JSON.stringify([details, wishes]);
  if (opened?.content === content) return opened.session;
  const session = await createSession(details, wishes);
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
  tell(null);
  const answer = await checkout();
  if (!failed(answer)) return;
  const shown = showErrors(answer.errors ?? {});
  tell(shown ? null : answer);
  progress.textContent = shown ? "Please correct what is marked." : "";
  pay.disabled = false;
  pay.ariaBusy = "false";
});

// A page that the browser brings back from its memory was left with the button waiting.
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
