// The shop's account: what it holds, and paying to it by hand.
"use strict";

{
  const POLL_MS = 2000;
  const TIMEOUT_MS = 5000;
  const PAYING_MS = 15000;
  const form = document.getElementById("by-hand");
  const result = document.getElementById("payment-result");

  const money = (amount) =>
    `Ksh${amount.toLocaleString("en-KE", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;

  // As people type it: 0712 345 678, +254 712 345 678.
  const phoneOf = (text) => text.replace(/\D/g, "").replace(/^0/, "254").replace(/^(?=[17]\d{8}$)/, "254");

  async function showBalance() {
    const answer = await fetch("/simulator/api/organisation", { signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (answer.ok) document.getElementById("balance").textContent = money((await answer.json()).balance);
  }

  function sentenceOf(payment, wanted) {
    if (payment.error) return payment.error;
    if (!payment.receipt) return `Not paid. ${payment.text} (${payment.code})`;
    return `${payment.receipt} Confirmed. ${money(wanted.amount)} sent for account ${wanted.reference || "(none)"}.`;
  }

  async function pay(event) {
    event.preventDefault();
    const button = form.querySelector("button");
    const wanted = {
      phone: phoneOf(form.phone.value),
      amount: Number(form.amount.value),
      reference: form.reference.value,
    };
    button.disabled = true;
    result.textContent = "Paying …";
    result.className = "quiet";
    try {
      const answer = await fetch("/simulator/api/payments", {
        method: "POST",
        body: JSON.stringify(wanted),
        signal: AbortSignal.timeout(PAYING_MS),
      });
      result.textContent = sentenceOf(await answer.json(), wanted);
      result.className = answer.ok ? "paid" : "failed";
      await showBalance();
    } catch {
      result.textContent = "The simulator does not answer. Is it still running?";
      result.className = "failed";
    } finally {
      button.disabled = false;
    }
  }

  async function poll() {
    if (!document.hidden) {
      try {
        await showBalance();
      } catch {
        // The phones' own poll says that the simulator does not answer.
      }
    }
    setTimeout(poll, POLL_MS);
  }

  form.addEventListener("submit", pay);
  poll();
}
