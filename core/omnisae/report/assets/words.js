"use strict";
// Numbers as the report writes them, and a way to build elements whose text can never become markup.
(() => {
  const DASH = "–";
  const minus = (text) => text.replace("-", "−");
  const known = (value) => value !== null && value !== undefined && !Number.isNaN(value);
  const whole = (value) => Math.round(value).toString().replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");
  const short = (value) => {
    if (value === 0) return "0";
    const size = Math.abs(value);
    return minus(size >= 1e-3 && size < 1e5 ? Number(value.toPrecision(3)).toString() : value.toExponential(2));
  };
  const percent = (value) => {
    const size = 100 * Math.abs(value);
    const text = size === 0 ? "0" : size < 0.001 ? "<0.001" : Number(size.toPrecision(3)).toString();
    return `${value < 0 ? "−" : ""}${text} %`;
  };
  // A latent's name is its number; where codes are signed, its number and their sign: "17+", "17-".
  const named = (latent) => minus(String(latent));
  const write = {
    latent: named,
    text: (value) => String(value),
    share: (value) => minus(value.toFixed(3)),
    signed: (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(3),
    count: whole,
    raw: short,
    percent,
    chance: (value) => (value < 0.001 ? "<0.001" : value.toFixed(3)),
  };
  omnisae.write = (kind, value) => (known(value) && value !== "" ? write[kind](value) : DASH);
  omnisae.named = named;
  /** Where a latent stands among all: its two poles beside each other. */
  omnisae.place = (latent) => parseInt(latent, 10) + (String(latent).endsWith("-") ? 0.5 : 0);
  omnisae.whole = whole;
  omnisae.short = short;
  omnisae.percent = percent;
  omnisae.known = known;

  /** el("a.name", {href: "…"}, child, "text"): children that are strings become text, never markup. */
  omnisae.el = (name, attributes, ...children) => {
    const [tag, ...classes] = name.split(".");
    const made = document.createElement(tag);
    if (classes.length) made.className = classes.join(" ");
    for (const [key, value] of Object.entries(attributes || {})) {
      if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  };
})();
