"use strict";
// Light or dark: the reader's choice where one was made, the system's otherwise. Runs before the page is painted.
(() => {
  const root = document.documentElement;
  const stored = () => {
    try { return localStorage.getItem("omnisae-theme"); } catch { return null; }
  };
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => stored() || (system.matches ? "dark" : "light");
  const apply = () => {
    const theme = chosen();
    root.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (button) {
      button.textContent = theme === "dark" ? "Light" : "Dark";
      button.setAttribute("aria-label", theme === "dark" ? "Switch to light colours" : "Switch to dark colours");
      button.removeAttribute("aria-pressed");
    }
  };
  apply();
  system.addEventListener("change", apply);
  document.addEventListener("DOMContentLoaded", () => {
    apply();
    document.getElementById("theme").addEventListener("click", () => {
      const next = chosen() === "dark" ? "light" : "dark";
      try { localStorage.setItem("omnisae-theme", next); } catch { /* private window: the choice lasts for this page */ }
      root.dataset.theme = next;
      apply();
    });
  });
})();
