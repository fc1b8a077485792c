// Keys on the label page: a number or first letters choose, arrows move, s skips, u undoes.
(() => {
  "use strict";
  const OFF = "homeostat-single-keys-off";
  let typed = "";

  const work = () => document.getElementById("work");
  const choices = () => [...work().querySelectorAll("[data-class]")];
  const busy = () => work().querySelector(".htmx-request") !== null;

  function startOver() {
    typed = "";
    choices().forEach((choice) => choice.classList.remove("meant"));
  }

  function press(button) {
    startOver();
    button.click();
  }

  function move(step) {
    const all = choices();
    if (!all.length) return;
    const at = all.indexOf(document.activeElement);
    all[at < 0 ? (step > 0 ? 0 : all.length - 1) : (at + step + all.length) % all.length].focus();
  }

  // By its number where classes are numbered; else by what they begin with, and at once where only one begins so.
  function choose(key) {
    const all = choices();
    const numbered = all.find((choice) => choice.dataset.number === key);
    if (numbered) return press(numbered);
    const begins = (text) => all.filter((choice) => choice.dataset.class.toLowerCase().startsWith(text));
    typed = begins(typed + key).length ? typed + key : key;
    const matches = begins(typed);
    all.forEach((choice) => choice.classList.toggle("meant", matches.includes(choice)));
    if (matches.length === 1) return press(matches[0]);
    if (!matches.length) return startOver();
    (matches.find((choice) => choice.dataset.class.toLowerCase() === typed) || matches[0]).focus();
  }

  function onKey(event) {
    if (!work() || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const at = document.activeElement;
    const inside = at === document.body || at === document.getElementById("main") || work().contains(at);
    const typing = at.matches("input:not([type=checkbox]), textarea, select");
    if (!inside || typing) return;
    if (busy()) {
      if (event.key.length === 1 || event.key === "Enter") event.preventDefault();
      return;
    }
    if (event.key === "ArrowRight" || event.key === "ArrowDown") { event.preventDefault(); return move(1); }
    if (event.key === "ArrowLeft" || event.key === "ArrowUp") { event.preventDefault(); return move(-1); }
    if (event.key === "Escape") return startOver();
    if (event.key.length !== 1 || event.key === " " || localStorage.getItem(OFF)) return;
    const key = event.key.toLowerCase();
    const other = typed ? null : work().querySelector(`[data-key="${CSS.escape(key)}"]`);
    event.preventDefault();
    if (other) return press(other);
    choose(key);
  }

  function settle() {
    startOver();
    const number = document.getElementById("number");
    const title = document.getElementById("item");
    if (number) number.focus();
    else if (title) title.focus({ preventScroll: true });
  }

  document.addEventListener("keydown", onKey);
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.requestConfig && event.detail.requestConfig.verb === "post") settle();
  });
  document.addEventListener("DOMContentLoaded", () => {
    const single = document.getElementById("single-keys");
    if (single) {
      single.checked = !localStorage.getItem(OFF);
      single.addEventListener("change", () => {
        if (single.checked) localStorage.removeItem(OFF);
        else localStorage.setItem(OFF, "1");
      });
    }
    if (work()) settle();
  });
})();
