// Refreshes the live part of a page, but never while a button is pressed: the press would be lost.

let isPressed = false;
let isDelayed = false;

/** Fetch `live` and replace it. */
export const refresh = () => htmx.trigger("#live", "changed");

/** Let `live` be used. It is inert until its script listens: a press before that would be lost. */
export const enable = () => { document.getElementById("live").inert = false; };

const release = () => {
  isPressed = false;
  if (isDelayed) refresh();
  isDelayed = false;
};

addEventListener("pointerdown", () => { isPressed = true; }, true);
// The click event follows the end of the press in the same task.
for (const end of ["pointerup", "pointercancel", "blur"]) addEventListener(end, () => setTimeout(release), true);

document.addEventListener("htmx:beforeSwap", (event) => {
  if (!isPressed || event.detail.target.id !== "live") return;
  event.detail.shouldSwap = false;
  isDelayed = true;
});
