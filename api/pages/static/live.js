// Shows the part of a page that changes anew, but never under a hand: what is pressed in that moment would be lost.

let isPressed = false;
let isOwed = false;

/** Fetch `live` and put it in place. */
export const showAnew = () => htmx.trigger("#live", "changed");

const release = () => {
  isPressed = false;
  if (isOwed) showAnew();
  isOwed = false;
};

addEventListener("pointerdown", () => { isPressed = true; }, true);
// The click comes after the end of the press, in the same breath.
for (const end of ["pointerup", "pointercancel", "blur"]) addEventListener(end, () => setTimeout(release), true);

document.addEventListener("htmx:beforeSwap", (event) => {
  if (!isPressed || event.detail.target.id !== "live") return;
  event.detail.shouldSwap = false;
  isOwed = true;
});
