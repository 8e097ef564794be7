// Keeps the phones on the page as the simulator has them: asks twice a second while the page can be seen.
"use strict";

const POLL_MS = 500;
const TIMEOUT_MS = 5000;
const MESSAGES_SHOWN = 4;
const PHONES_SHOWN = 24;
const onlyPhone = document.body.dataset.phone;
const phones = document.getElementById("phones");
const cards = new Map();

const shillings = (amount) => `Ksh${amount.toLocaleString("en-KE")}.00`;

function messageOf(prompt) {
  if (prompt.state === "paid") {
    return `${prompt.receipt} Confirmed. ${shillings(prompt.amount)} paid to ${prompt.business} for account `
      + `${prompt.account_reference}. New M-PESA balance is ${shillings(prompt.balance)}.`;
  }
  return `Your payment of ${shillings(prompt.amount)} to ${prompt.business} failed. ${prompt.result_text} `
    + `(${prompt.result_code})`;
}

async function press(card, action) {
  const buttons = card.querySelectorAll("button");
  buttons.forEach((button) => { button.disabled = true; });
  try {
    const id = encodeURIComponent(card.dataset.prompt);
    await fetch(`/simulator/api/prompts/${id}/${action}`, { method: "POST", signal: AbortSignal.timeout(TIMEOUT_MS) });
    await refresh();
  } catch {
    showTrouble(true);
  } finally {
    buttons.forEach((button) => { button.disabled = false; });
  }
}

function makeCard(phone) {
  const card = document.getElementById("phone-template").content.cloneNode(true).firstElementChild;
  card.dataset.phone = phone;
  card.querySelector(".number").textContent = `+${phone.slice(0, 3)} ${phone.slice(3, 6)} ${phone.slice(6)}`;
  card.querySelectorAll("button").forEach((button) => {
    button.addEventListener("click", () => press(card, button.dataset.action));
  });
  phones.append(card);
  cards.set(phone, card);
  return card;
}

function showMessages(card, closed) {
  const list = card.querySelector(".messages");
  const wanted = closed.slice(0, MESSAGES_SHOWN);
  const key = wanted.map((prompt) => prompt.id).join();
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(...wanted.map((prompt) => {
    const line = document.createElement("li");
    line.className = prompt.state;
    line.textContent = messageOf(prompt);
    return line;
  }));
}

function showPhone(phone, prompts) {
  const card = cards.get(phone) ?? makeCard(phone);
  const open = prompts.find((prompt) => prompt.state === "open");
  const closed = prompts.filter((prompt) => prompt.state !== "open");
  card.querySelector(".prompt").hidden = !open;
  card.querySelector(".idle").hidden = Boolean(open) || closed.length > 0;
  if (open) {
    card.dataset.prompt = open.id;
    card.querySelector(".text").textContent = `Do you want to pay ${shillings(open.amount)} to ${open.business}, `
      + `account no. ${open.account_reference}?`;
    card.querySelector(".left").textContent = `Runs out in ${open.seconds_left} s`;
  }
  showMessages(card, closed);
}

function showTrouble(isTrouble) {
  document.getElementById("trouble").hidden = !isTrouble;
}

function show(prompts) {
  const byPhone = new Map(onlyPhone ? [[onlyPhone, []]] : []);
  for (const prompt of prompts) {
    if (!byPhone.has(prompt.phone) && byPhone.size < PHONES_SHOWN) byPhone.set(prompt.phone, []);
    byPhone.get(prompt.phone)?.push(prompt);
  }
  byPhone.forEach((ofPhone, phone) => showPhone(phone, ofPhone));
  for (const [phone, card] of cards) {
    if (!byPhone.has(phone)) { card.remove(); cards.delete(phone); }
  }
  const nothing = document.getElementById("nothing");
  if (nothing) nothing.hidden = byPhone.size > 0;
}

async function refresh() {
  const filter = onlyPhone ? `phone=${onlyPhone}&limit=10` : "limit=100";
  const answer = await fetch(`/simulator/api/prompts?${filter}`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (!answer.ok) throw new Error(`the simulator answered ${answer.status}`);
  show((await answer.json()).prompts);
  showTrouble(false);
}

async function poll() {
  if (!document.hidden) {
    try {
      await refresh();
    } catch {
      showTrouble(true);
    }
  }
  setTimeout(poll, POLL_MS);
}

poll();
