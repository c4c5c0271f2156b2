"use strict";
(() => {
  const { el, need, whole, short, percent, write, known, named } = omnisae;
  const root = document.getElementById("latent");
  const SIDES = ["train", "select", "test"];
  const remembered = () => { try { return localStorage.getItem("omnisae-smooth") !== "no"; } catch { return true; } };
  let smooth = remembered();
  let heats = [];

  const number = (text, one, many) => `${whole(text)} ${text === 1 ? one : many}`;
  const section = (id, title, ...rest) => el("section", { "aria-labelledby": id }, el("h2", { id }, title), ...rest);

  // What the address asks for: a latent, or where codes are signed one pole of it ("#17-"; "#17" is the positive one).
  // `at` is its place among all, both poles of a latent beside each other, `list` its place in the data.
  const asked = (run) => {
    const [, digits, sign] = /^#(\d+)([+-]?)$/.exec(location.hash) || [];
    const [latent, negative] = [Number(digits), sign === "-"];
    if (digits === undefined || latent >= run.latents || (sign && !run.signed)) return null;
    return run.signed
      ? { name: `${latent}${sign || "+"}`, latent, negative, at: 2 * latent + negative, list: latent + negative * run.latents }
      : { name: String(latent), latent, negative, at: latent, list: latent };
  };
  const nameAt = (at, run) => (run.signed ? `${at >> 1}${at % 2 ? "-" : "+"}` : String(at));

  const steps = ({ at }, run) => el("nav.steps", { "aria-label": "Latents" },
    at > 0 ? el("a", { href: `#${nameAt(at - 1, run)}`, rel: "prev" }, `← ${named(nameAt(at - 1, run))}`) : el("span"),
    at < run.latents * (run.signed ? 2 : 1) - 1 ? el("a", { href: `#${nameAt(at + 1, run)}`, rel: "next" }, `${named(nameAt(at + 1, run))} →`) : el("span"));

  const cells = (brief, facts, i) => Object.fromEntries(brief.columns.map((column, c) => [column.key, facts.claims[i][c]]));

  const summary = (brief, facts) => {
    if (!facts.count && facts.other && facts.other.count) return "Silent: no code has this sign on the held-out tokens.";
    if (!facts.count) return "Dead: it fires on none of the held-out tokens.";
    if (!facts.claims.length) return "No concept has it among its best latents.";
    const best = cells(brief, facts, 0);
    const score = known(best.f1) ? `F1 ${write("share", best.f1)}` : known(best.spearman) ? `Spearman ${write("signed", best.spearman)}` : "not measured";
    const margin = known(best.margin) ? `, ${write("signed", best.margin)} against the best control` : "";
    const q = known(best.q_value) ? `, q ${write("chance", best.q_value)}` : "";
    return el("span", {}, "Ranks highest for ", el("strong", {}, best.concept), `: ${score}${margin}${q}, n = ${whole(best.n_test)} on test.`);
  };

  const poles = (brief, facts, { negative }) => {
    if (!facts.other) return null;
    const { latent, count, concept } = facts.other;
    const does = !count ? " is silent." : ` fires on ${percent(count / Math.max(brief.tokens, 1))} of tokens`;
    return el("p.sub", {}, negative ? "Its negative codes; all numbers and colours are their magnitudes. " : "Its positive codes. ",
      "The other pole, ", el("a", { href: `#${latent}` }, named(latent)), `,${does}`,
      ...(count && concept ? [" and ranks highest for ", el("strong", {}, concept)] : []), count ? "." : null);
  };

  const numbers = (brief, facts, { negative }) => {
    const item = (name, value, n) => el("div.tile", {}, el("dt", {}, name), el("dd", {}, el("b", {}, value), el("span.n", {}, n)));
    return el("dl.tiles.small", {},
      item("Fires on", percent(facts.count / Math.max(brief.tokens, 1)), `${whole(facts.count)} of ${number(brief.tokens, "held-out token", "held-out tokens")}`),
      item("In examples", percent(facts.examples / Math.max(brief.examples, 1)), `${whole(facts.examples)} of ${number(brief.examples, "scored example", "scored examples")}`),
      item(negative ? "Largest magnitude" : "Largest value", short(facts.maximum), "in the units of the codes; where all colours end"),
      ...brief.measures.map((column, i) => [column, facts.measured[i]]).filter(([, value]) => known(value) && value !== "")
        .map(([column, value]) => item(column.title, write(column.kind, value), column.note)));
  };

  const concepts = (brief, facts) => {
    if (!facts.claims.length) return null;
    const used = brief.columns.map((column, i) => column.kind === "text" || facts.claims.some((claim) => known(claim[i])));
    const columns = brief.columns.filter((_, i) => used[i]);
    const head = el("tr", {}, ...columns.map((column) => el(`th.${omnisae.align(column)}`, { scope: "col", title: column.note }, column.title)));
    const rows = facts.claims.map((all) => all.filter((_, i) => used[i])).map((claim) => el("tr", {}, ...columns.map((column, i) => {
      const cell = el(`td.${omnisae.align(column)}`, {}, omnisae.cell(column, claim[i]));
      if (column.kind === "signed" && known(claim[i])) cell.classList.add(claim[i] > 0 ? "above" : "beneath");
      return cell;
    })));
    return section("concepts", "Its concepts, on test examples",
      el("div.scroller.short", { tabindex: 0, role: "region", "aria-labelledby": "concepts" },
        el("table.data.plain", {}, el("caption.hidden", {}, "Concepts of this latent"), el("thead", {}, head), el("tbody", {}, ...rows))));
  };

  // The change of the loss with its 95 % interval, on one scale for the latent and those that fire as often.
  const interval = (measured, low, high) => {
    const place = (value) => `${(100 * (value - low)) / (high - low)}%`;
    const svg = (tag, attributes) => {
      const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
      return made;
    };
    const strip = svg("svg", { width: "100%", height: 18, "aria-hidden": "true", class: "interval" });
    strip.append(
      svg("line", { class: "axis", x1: place(0), x2: place(0), y1: 0, y2: 18 }),
      svg("line", { class: "gap sure", x1: place(measured.low), x2: place(measured.high), y1: 9, y2: 9 }),
      svg("circle", { class: "mark sure", cx: place(measured.change), cy: 9, r: 4 }));
    return strip;
  };
  const effect = (facts, run) => {
    const title = "Switching it off";
    if (!facts.effect) {
      const why = run.why || "measured for the best-scored latents only (score.effects in the config)";
      return section("effect", title, el("p.sub", {}, `Not measured: ${why}.`));
    }
    const { effect } = facts;
    const rows = [[run.signed ? "this pole" : "this latent", effect], ["those that fire as often, together", effect.control],
      ...(effect.controls || []).map((one) => [el("a", { href: `#${one.latent}` }, `latent ${named(one.latent)}`), one])]
      .filter(([, measured]) => measured && known(measured.change));
    if (!rows.length) return section("effect", title, el("p.sub", {}, "Not measured: it fires in no example whose loss is known."));
    const bounds = rows.flatMap(([, m]) => [known(m.low) ? m.low : m.change, known(m.high) ? m.high : m.change]).concat(0);
    const [least, most] = [Math.min(...bounds), Math.max(...bounds)];
    const room = (most - least) * 0.06 || 1;
    const change = (value) => (value > 0 ? "+" : "") + short(value);
    const lines = rows.map(([name, m]) => el("tr", {}, el("th.words", { scope: "row" }, name), el("td.num", {}, change(m.change)),
      el("td.num", {}, known(m.low) ? `${change(m.low)} to ${change(m.high)}` : "–"), el("td.num", {}, known(m.n) ? whole(m.n) : "–"),
      el("td.wide", {}, known(m.low) ? interval(m, least - room, most + room) : null)));
    return section("effect", title,
      el("p.sub", {}, `How the model’s own loss changes, on test examples in which a latent fires, when ${run.signed ? "its codes of that sign are" : "that latent is"} set to zero. The others are its control: they fire about as often.`),
      el("div.scroller.short", { tabindex: 0, role: "region", "aria-labelledby": "effect" }, el("table.data.plain.effect", {},
        el("caption.hidden", {}, "Change of the loss when a latent is switched off"),
        el("thead", {}, el("tr", {}, ...[["Switched off", "words"], ["Change of loss", "num"], ["95 % interval", "num"], ["n", "num"], ["", "wide"]].map(([name, kind]) => el(`th.${kind}`, { scope: "col" }, name)))),
        el("tbody", {}, ...lines))));
  };

  const draw = (drawing, page, run, who) => {
    if (drawing.kind === "heat") {
      const heat = omnisae.heat(drawing, page.ceiling, smooth, who);
      heats.push(heat);
      return heat;
    }
    if (drawing.kind === "scatter") return el("div", {}, omnisae.scatter(drawing, page.ceiling, run), ramp(page, run));
    if (drawing.kind === "file") return el("img", { src: drawing.src, alt: drawing.alt, loading: "lazy" });
    const holder = el("div.drawn");
    holder.innerHTML = drawing.html; // made by a visualizer, which escapes its text; the page's policy runs no script in it
    return holder;
  };

  const card = (row, page, run) => {
    const facts = page.examples[row];
    const side = SIDES[facts.side] || "";
    const drawn = page.drawings.flatMap((group) => (group.examples[row] || []).map((drawing) => [drawing, draw(drawing, page, run, facts.id)]));
    const notes = drawn.map(([drawing]) => drawing.caption).filter(Boolean);
    const labels = Object.entries(facts.labels).map(([column, value]) => el("span.label", { title: column }, value)).filter((label) => label.textContent);
    return el("figure.card", {}, ...drawn.map(([, made]) => made),
      el("figcaption", {},
        el("span.value", {}, short(facts.strength)), el("span.id", { title: facts.id }, facts.id),
        labels.length ? el("span.labels", {}, ...labels) : null,
        el(`span.side.${side}`, { title: side === "test" ? "a test example: chose nothing" : "a select example: helped to choose" }, side),
        ...[...new Set(notes)].map((note) => el("span.remark", {}, note))));
  };

  const cards = (rows, page, run) => {
    const any = page.drawings.some((group) => Object.keys(group.examples).length);
    const wide = page.drawings.some((group) => Object.values(group.examples).some((list) => list.some((d) => d.kind === "html")));
    const kind = any ? (wide ? "div.cards.wide" : "div.cards") : "div.cards.bare";
    return el(kind, {}, ...rows.map((row) => card(row, page, run)));
  };

  const ramp = (page, run) => {
    const stops = run.scale.filter((_, i) => i % 15 === 0);
    return el("div.colourbar", { role: "img", "aria-label": `Colour scale from 0 to ${short(page.ceiling)}, the same in all drawings of this latent` },
      el("span.ramp", { style: `background:linear-gradient(90deg, ${stops.join(",")})` }),
      el("span.marks", { "aria-hidden": "true" }, ...[0, 0.25, 0.5, 0.75, 1].map((share) => el("span", {}, short(share * page.ceiling)))));
  };

  const legend = (page, run) => {
    const kinds = page.drawings.flatMap((group) => Object.values(group.examples).flat()).map((drawing) => drawing.kind);
    if (!kinds.length) return null;
    const bar = ramp(page, run);
    if (!kinds.includes("heat")) return el("div.legendbar", {}, bar);
    const modes = el("div.modes", { role: "group", "aria-label": "How heatmaps are drawn" });
    for (const [name, soft] of [["Smooth", true], ["Per patch", false]]) {
      const button = el("button", { type: "button", "aria-pressed": String(smooth === soft) }, name);
      button.addEventListener("click", () => {
        smooth = soft;
        try { localStorage.setItem("omnisae-smooth", soft ? "yes" : "no"); } catch { /* private window */ }
        heats.forEach((heat) => heat.repaint(smooth));
        for (const other of modes.children) other.setAttribute("aria-pressed", String(other === button));
      });
      modes.append(button);
    }
    return el("div.legendbar", {}, bar, modes, el("span.hint", {}, "One scale for all its pictures. Silent tokens are left clear."));
  };

  const bands = (page, run) => page.bands.map((band, i) => {
    const name = ["Strongest quarter", "Second quarter", "Third quarter", "Weakest quarter"][i];
    return el("div.quarter", {},
      el("h3", {}, name, el("span.n", {}, `${short(band.low)} to ${short(band.high)} · n = ${number(band.n, "example", "examples")}`)),
      band.rows.length ? cards(band.rows, page, run) : el("p.sub", {}, "All of them are among the top examples above."));
  });

  const panels = (page, run) => {
    const made = page.drawings.flatMap((group) => group.latent.map((drawing) =>
      el("figure.panel", {}, el("h3", {}, drawing.title || group.title), draw(drawing, page, run, ""), el("figcaption", {}, drawing.caption))));
    return made.length ? section("dataset", "Over the whole dataset", el("div.panels", {}, ...made)) : null;
  };

  const pictures = (page, run) => {
    const random = page.bands.some((band) => band.rows.length);
    return [
      section("top", "Top examples", el("p.sub", {}, `The ${number(page.top.length, "held-out example", "held-out examples")} in which it is strongest, of ${whole(page.firing)} in which it fires.`),
        ...[legend(page, run), cards(page.top, page, run)].filter(Boolean)),
      random ? section("random", "Random examples", el("p.sub", {}, "Picked at random from every quarter of the examples in which it fires, by its strength there. What it means must hold here too."), el("div.quarters", {}, ...bands(page, run))) : null,
    ];
  };

  const render = async (moved) => {
    const run = await need("run");
    const pole = asked(run);
    if (!pole) {
      root.replaceChildren(el("h1", {}, "No such latent"), el("p.sub", {}, "Choose one from the ", el("a", { href: "latents.html" }, "table of latents"), "."));
      return;
    }
    omnisae.scale(run.scale);
    const { list } = pole;
    const brief = await need(`brief/${Math.floor(list / run.brief)}`);
    const facts = brief.latents[list % run.brief];
    const page = facts.drawn ? await need(`pages/${Math.floor(list / 1000)}/${list}`) : null;
    const now = asked(run);
    if (!now || now.list !== list) return; // the reader has gone on meanwhile
    heats = [];
    const heading = `Latent ${pole.latent}${run.signed ? `, ${pole.negative ? "negative" : "positive"} pole` : ""}`;
    const title = el("h1", { tabindex: -1 }, heading);
    const absent = page || !facts.count ? null : el("p.notice", {}, "This latent has its numbers here, but no drawings: the report draws the best-scored and most frequent ones (report.latents in the config).");
    root.replaceChildren(...[
      steps(pole, run), title, el("p.lede", {}, summary(brief, facts)), poles(brief, facts, pole), numbers(brief, facts, pole), absent,
      ...(page ? pictures(page, run) : []), concepts(brief, facts), page ? panels(page, run) : null, effect(facts, run), steps(pole, run),
    ].filter(Boolean));
    document.title = document.title.replace(/^Latent[^·]*/, `${heading} `);
    root.dataset.latent = pole.name;
    if (moved) { window.scrollTo(0, 0); title.focus({ preventScroll: true }); }
  };

  const guarded = (moved) => render(moved).catch((error) => {
    root.replaceChildren(el("h1", {}, "This page cannot be shown"), el("p.sub", {}, `${error.message}. Build the report again (omnisae report).`));
  });
  window.addEventListener("hashchange", () => guarded(true));
  guarded(false);
})();
