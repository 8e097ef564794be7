// Changes the cart by its buttons and fields, then refreshes it from the server.
import { failed, putInCart, showTrouble } from "./api.js";
import { refresh } from "./live.js";

const change = async (line, quantity) => {
  if (line.ariaBusy === "true") return;
  line.ariaBusy = "true";
  const answer = await putInCart(line.dataset.listing, quantity);
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

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-put]");
  if (button) change(button.closest("[data-listing]"), button.dataset.put);
});

document.addEventListener("change", (event) => {
  if (event.target.matches(".quantity")) change(event.target.closest("[data-listing]"), event.target.value.trim());
});
