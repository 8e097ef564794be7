import { API } from "./config.js";

const { Daftari, DaftariError } = await import(`${API}/sdk/v1/daftari.js`);

const find = (selector) => document.querySelector(selector);
const say = (text) => { find("#say").textContent = text; };

const STATES = {
  pending: "Nothing was sent to your phone yet.",
  payment_initiated: "Enter your M-Pesa PIN on your phone.",
  paid: "Paid. Your order is being made.",
};

let daftari;

/** Run what a button does, and tell the buyer if it is refused. */
const attempt = async (button, action) => {
  button.disabled = true;
  try {
    await action();
  } catch (error) {
    if (!(error instanceof DaftariError)) throw error;
    say([error.message, ...Object.values(error.fields).flat()].join(" "));
  } finally {
    button.disabled = false;
  }
};

const showTotal = ({ total_amount }) => { find("#total").textContent = `KES ${total_amount}`; };

const showGoods = ({ results }) => {
  find("#goods").replaceChildren(...results.map((listing) => {
    const [line, button] = [document.createElement("li"), document.createElement("button")];
    button.textContent = `Add ${listing.product_name}`;
    button.onclick = () => attempt(button, async () => {
      const path = `/api/cart/items/${listing.listing_id}/`;
      showTotal(await daftari.request("PUT", path, { body: { quantity: 1 } }));
    });
    line.append(`${listing.product_name}, KES ${listing.price} a ${listing.unit_of_measure}`, button);
    return line;
  }));
};

const fill = (select, places, id) =>
  select.replaceChildren(...places.map((place) => new Option(place.name, place[id])));

const showSubcounties = async () => {
  const { county_id, subcounty_id } = find("#checkout").elements;
  const { results } = await daftari.request("GET", `/api/places/counties/${county_id.value}/subcounties/`);
  fill(subcounty_id, results, "subcounty_id");
};

/** Follow a payment to its end. */
const follow = async (session) => {
  find("#extend").hidden = false;
  find("#extend").onclick = () => attempt(find("#extend"), () => daftari.extend(session.session_id));
  const end = await daftari.watch(session.session_id, {
    onChange: (status) => say(STATES[status.session_status] ?? ""),
    onProblem: () => say("The connection was lost. Connecting again …"),
  });
  find("#extend").hidden = true;
  if (end.session_status === "order_created") say(`Thank you. Your order is ${end.order.order_number}, receipt ${end.receipt}.`);
  else say(end.reason?.message ?? "The time to pay is over. Nothing was paid.");
};

const checkOut = async (form) => {
  const given = Object.fromEntries(new FormData(form));
  const details = { ...given, county_id: Number(given.county_id), subcounty_id: Number(given.subcounty_id) };
  const session = await daftari.create({ delivery_details: details });
  const prompt = await daftari.pay(session.session_id);
  say(prompt.customer_message);
  await follow(session);
};

find("#checkout").onsubmit = (event) => {
  event.preventDefault();
  attempt(event.submitter, () => checkOut(event.target));
};
find("#checkout").elements.county_id.onchange = showSubcounties;

// A real shop's sign-in gives the token. It stays in this page's memory: no URL, no cookie, no storage has it.
find("#sign-in").onsubmit = (event) => {
  event.preventDefault();
  const token = event.target.elements.token.value;
  attempt(event.submitter, async () => {
    daftari = new Daftari({ url: API, token });
    showTotal(await daftari.request("GET", "/api/cart/"));
    showGoods(await daftari.request("GET", "/api/catalogue/?page_size=5"));
    const { results } = await daftari.request("GET", "/api/places/counties/");
    fill(find("#checkout").elements.county_id, results, "county_id");
    await showSubcounties();
    find("#sign-in").hidden = true;
    find("#shop").hidden = false;
    say("");
  });
};
