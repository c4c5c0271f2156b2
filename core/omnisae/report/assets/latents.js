"use strict";
(async () => {
  const $ = (id) => document.getElementById(id);
  const first = await omnisae.need("latents/0");
  const table = new omnisae.Table($("table"), first.columns, "Latents");
  const signed = first.rows.latent.some((name) => typeof name === "string");
  const said = () => { $("count").textContent = `${omnisae.whole(table.order.length)} of ${omnisae.whole(table.length)} ${signed ? "poles" : "latents"}`; };
  table.changed = said;
  const scored = "concept" in first.rows;
  for (const id of ["sure", "least"]) if (!scored) $(id).closest("label").hidden = true;
  const refresh = () => {
    const sought = $("search").value.trim().toLowerCase().replace(/^#/, "").replace("−", "-");
    const number = /^\d+[+-]?$/.test(sought);
    const [alive, drawn, sure] = ["alive", "drawn", "sure"].map((id) => $(id).checked);
    const least = $("least").value === "" ? null : Number($("least").value);
    table.filter((i, rows) => {
      if (alive && !(rows.frequency[i] > 0)) return false;
      if (drawn && !rows.drawn[i]) return false;
      if (sure && !(rows.margin && rows.margin[i] > 0 && rows.q_value && rows.q_value[i] !== null && rows.q_value[i] < 0.05)) return false;
      if (least !== null && !(scored && rows.f1 && rows.f1[i] !== null && rows.f1[i] >= least)) return false;
      if (!sought) return true;
      if (number && String(rows.latent[i]).startsWith(sought)) return true;
      return scored && rows.concept[i] !== null && rows.concept[i].toLowerCase().includes(sought);
    });
  };
  for (const id of ["search", "alive", "drawn", "sure", "least"]) $(id).addEventListener("input", refresh);
  table.add(first.rows);
  if ("margin" in first.rows) table.sort("margin", true);
  else if (signed) table.sort("latent", false);
  for (let part = 1; part < first.parts; part += 1) table.add((await omnisae.need(`latents/${part}`)).rows);
  $("table").dataset.complete = "true";
})();
