// Changes the cart by its buttons and fields, then refreshes it from the server.
import { failed, putInCart, showTrouble } from "./api.js";
import { enable, refresh } from "./live.js";

const underway = new Set();

const change = async (line, quantity) => {
  if (line.ariaBusy === "true") return;
  line.ariaBusy = "true";
  const request = putInCart(line.dataset.listing, quantity);
  underway.add(request);
  const answer = await request;
  underway.delete(request);
  line.ariaBusy = "false";
  const wrong = failed(answer) ? answer.errors?.quantity : null;
  showTrouble(failed(answer) && !wrong ? answer : null);
  if (wrong) showWrong(line, wrong);
  else refresh();
};

const showWrong = (line, messages) => {
  line.querySelector(".wrong").textContent = messages.join(" ");
  line.querySelector(".quantity").ariaInvalid = "true";
};

/** Follow a link once every change is made: to leave the page now would abort its request. */
const leave = async (link) => {
  const answers = await Promise.all(underway);
  if (!answers.some(failed)) location.assign(link.href);
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-put]");
  if (button) change(button.closest("[data-listing]"), button.dataset.put);
  const link = event.target.closest("a[href]");
  if (!link || !underway.size || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  leave(link);
});

document.addEventListener("change", (event) => {
  if (event.target.matches(".quantity")) change(event.target.closest("[data-listing]"), event.target.value.trim());
});

enable();
