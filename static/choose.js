// Choosing open orders on an account's page: all of a symbol, all that are shown, and how many that is.
// It also tells whether newer ones were read since. Without a script there is a box for each order, and no others.

const form = document.getElementById("chosen");
const $$ = selector => [...document.querySelectorAll(selector)];
const mine = all => $$("input[name=order]").filter(box => !all.dataset.allOf || box.value.split("|")[1] === all.dataset.allOf);

function count() {
  const chosen = $$("input[name=order]:checked").length, number = form.querySelector(".n");
  number.textContent = String(chosen);
  number.classList.toggle("zero", !chosen);
  for (const all of $$("[data-all-of]")) {
    const boxes = mine(all), checked = boxes.filter(box => box.checked).length;
    all.checked = checked === boxes.length;
    all.indeterminate = checked > 0 && checked < boxes.length;
  }
}

// A time in a page has whole milliseconds.
function tellOfNewer() {
  const now = document.getElementById("account-now"), { listed } = document.getElementById("main").dataset;
  now.querySelector(".newer").hidden = !(Date.parse(now.dataset.read) >= (listed ? Date.parse(listed) + 1 : 0));
}
new MutationObserver(tellOfNewer).observe(document.getElementById("main"), { childList: true });
tellOfNewer();

if (form) {
  for (const label of $$("label.all")) label.hidden = false;
  document.addEventListener("change", ({ target }) => {
    if (target.matches("[data-all-of]")) for (const box of mine(target)) box.checked = target.checked;
    if (target.matches("[type=checkbox]")) count();
  });
  count();
}
