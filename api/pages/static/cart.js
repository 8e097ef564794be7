// Changes the cart by its buttons and fields, then lets the server show it anew.
import { failed, putInCart, tell } from "./api.js";
import { showAnew } from "./live.js";

const change = async (line, quantity) => {
  if (line.ariaBusy === "true") return;
  line.ariaBusy = "true";
  const answer = await putInCart(line.dataset.listing, quantity);
  line.ariaBusy = "false";
  const wrong = failed(answer) ? answer.errors?.quantity : null;
  tell(failed(answer) && !wrong ? answer : null);
  if (wrong) showWrong(line, wrong);
  else showAnew();
};

const showWrong = (line, sentences) => {
  line.querySelector(".wrong").textContent = sentences.join(" ");
  line.querySelector(".quantity").ariaInvalid = "true";
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-put]");
  if (button) change(button.closest("[data-listing]"), button.dataset.put);
});

document.addEventListener("change", (event) => {
  if (event.target.matches(".quantity")) change(event.target.closest("[data-listing]"), event.target.value.trim());
});
