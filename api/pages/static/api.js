// The API as the pages use it: the guide's three functions, the cart, and one Idempotency-Key for each intention.

const TIMEOUT_MS = 30_000;
const NO_ANSWER = "The shop did not answer. Look at your connection and press again: you will not be asked to pay twice.";

const token = document.querySelector('meta[name="token"]')?.content ?? "";
const keys = new Map();

/** Return the key of an intention; the same intention has the same key until it is forgotten. */
const keyOf = (intention) => {
  if (!keys.has(intention)) keys.set(intention, newKey());
  return keys.get(intention);
};

// crypto.randomUUID is missing where a page is served over plain http from another machine.
const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** Send a request and return the answer's JSON; what never came reads as an error in the API's own form. */
const send = async (method, path, body, key) => {
  const headers = { Authorization: `Bearer ${token}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (key) headers["Idempotency-Key"] = key;
  try {
    const response = await fetch(path, {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    return await response.json();
  } catch {
    return { status: "error", error_code: "NO_ANSWER", message: NO_ANSWER };
  }
};

/** Send what must happen once. The key outlives an answer that never came, so that pressing again repeats the request. */
const sendOnce = async (path, body) => {
  const intention = `${path} ${JSON.stringify(body)}`;
  const answer = await send("POST", path, body, keyOf(intention));
  if (answer.error_code !== "NO_ANSWER") keys.delete(intention);
  return answer;
};

/** Open a payment session for the cart. `wishes` are what the API takes beside the delivery details. */
export const createSession = (deliveryDetails, wishes = {}) =>
  sendOnce("/api/payments/sessions/", { delivery_details: deliveryDetails, ...wishes });

/** Ask for the prompt on a phone; without a number, on the session's own. */
export const initiatePayment = (sessionId, phoneNumber) =>
  sendOnce(`/api/payments/sessions/${sessionId}/initiate_payment/`, phoneNumber ? { phone_number: phoneNumber } : {});

/** Look where a session stands, and go to the order's page once there is one. */
export const pollSessionStatus = async (sessionId) => {
  const data = await send("GET", `/api/payments/sessions/${sessionId}/status/`);
  if (data.session_status === "order_created") location.assign(`/shop/orders/${data.order.order_id}/`);
  return data;
};

/** Let the cart hold exactly `quantity` (decimal text) of a listing; "0" takes it out. */
export const putInCart = (listingId, quantity) => {
  const path = `/api/cart/items/${listingId}/`;
  return quantity === "0" ? send("DELETE", path) : send("PUT", path, { quantity });
};

export const failed = (answer) => answer.status === "error";

/** Tell the buyer of trouble that belongs to no field; nothing hides it. */
export const tell = (answer) => {
  const place = document.getElementById("trouble");
  place.hidden = !answer;
  place.textContent = answer ? sentenceOf(answer) : "";
  if (answer) place.scrollIntoView({ block: "nearest" });
};

const sentenceOf = (answer) =>
  answer.error_code === "TOKEN_INVALID" ? "This page has been open for too long. Please reload it." : answer.message;
