// The API as the pages use it: the checkout contract's functions to create and pay, the cart, and one Idempotency-Key an intention.

const TIMEOUT_MS = 30_000;
const NO_ANSWER = "The shop did not answer. Check your connection and press again: you will not be charged twice.";

const token = document.querySelector('meta[name="token"]')?.content ?? "";
const keys = new Map();

/** Return the key of an intention; it is the same until the intention is done. */
const keyOf = (intention) => {
  if (!keys.has(intention)) keys.set(intention, newKey());
  return keys.get(intention);
};

// crypto.randomUUID is missing where a page is served over plain http from another machine.
const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** Send a request and return the JSON of the response; a missing response becomes an error in the API's form. */
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

/** Send what must happen once. The key outlives a missing response, so that pressing again repeats the request. */
const sendOnce = async (path, body) => {
  const intention = `${path} ${JSON.stringify(body)}`;
  const answer = await send("POST", path, body, keyOf(intention));
  if (answer.error_code !== "NO_ANSWER") keys.delete(intention);
  return answer;
};

/** Create a payment session for the cart. `optional` is what the API takes beside the delivery details. */
export const createSession = (deliveryDetails, optional = {}) =>
  sendOnce("/api/payments/sessions/", { delivery_details: deliveryDetails, ...optional });

/** Send the prompt to a phone; without a number, to the session's own. */
export const initiatePayment = (sessionId, phoneNumber) =>
  sendOnce(`/api/payments/sessions/${sessionId}/initiate_payment/`, phoneNumber ? { phone_number: phoneNumber } : {});

/** Set the quantity (decimal text) of a listing in the cart; "0" removes it. */
export const putInCart = (listingId, quantity) => {
  const path = `/api/cart/items/${listingId}/`;
  return quantity === "0" ? send("DELETE", path) : send("PUT", path, { quantity });
};

export const failed = (answer) => answer.status === "error";

/** Show an error that belongs to no field; null hides it. */
export const showTrouble = (answer) => {
  const place = document.getElementById("trouble");
  place.hidden = !answer;
  place.textContent = answer ? messageOf(answer) : "";
  if (answer) place.scrollIntoView({ block: "nearest" });
};

const messageOf = (answer) =>
  answer.error_code === "TOKEN_INVALID" ? "This page has been open for too long. Please reload it." : answer.message;
