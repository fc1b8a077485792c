// A refreshed list must not discard what a person is typing: it then only says that it has changed.
(() => {
  "use strict";
  function isBusy(part) {
    const at = document.activeElement;
    if (part.contains(at) && at !== part) return true;
    return [...part.querySelectorAll("input:not([type=hidden]), textarea, select")].some((field) =>
      field.tagName === "SELECT"
        ? [...field.options].some((option) => option.selected !== option.defaultSelected && option.defaultSelected)
        : field.value !== field.defaultValue
    ) || part.querySelector("details[open]") !== null;
  }

  document.addEventListener("htmx:beforeSwap", (event) => {
    const part = event.detail.target;
    if (!part.matches("[data-keep]") || !event.detail.shouldSwap || !isBusy(part)) return;
    event.detail.shouldSwap = false;
    const news = part.querySelector("[data-news]");
    if (news) news.hidden = false;
  });
})();
