// What the stream brings: each element takes the place of the one with its id.

const FOCUSABLE = "a, button, input, summary, [tabindex]";

/** Put a fragment's elements into the page, as the server sends them: inside a <template>. */
export function put(html) {
  const sent = document.createElement("template");
  sent.innerHTML = html;
  for (const one of [...sent.content.firstElementChild.content.children]) {
    const old = document.getElementById(one.id);
    if (!old) continue;
    if (one.matches("tr.sweep")) one.hidden = old.hidden; // the page alone knows which rows are folded away
    const focused = old.contains(document.activeElement) ? indexOf(document.activeElement, old) : -1;
    old.replaceWith(one);
    const again = focused < 0 ? null : focusable(one)[focused];
    if (again) again.focus({ preventScroll: true });
  }
}

const focusable = root => [...root.querySelectorAll(FOCUSABLE)];
const indexOf = (element, root) => focusable(root).indexOf(element);
