"use strict";
(async () => {
  const chunk = await omnisae.need("concepts/0");
  const $ = (id) => document.getElementById(id);
  const table = new omnisae.Table($("table"), chunk.columns, "Concepts and the latents that stand for them");
  table.changed = (shown, all) => { $("count").textContent = `${omnisae.whole(shown)} of ${omnisae.whole(all)} rows`; };
  const latents = (name) => [String(name), String(parseInt(name, 10))]; // "17" finds both of its poles
  const refresh = () => {
    const sought = $("search").value.trim().toLowerCase().replace("−", "-");
    const sure = $("sure").checked;
    const all = $("all").checked || sought !== "";
    table.filter((i, rows) => {
      if (!all && rows.rank[i] > 0) return false;
      if (sure && !(rows.margin && rows.margin[i] > 0 && rows.q_value && rows.q_value[i] !== null && rows.q_value[i] < 0.05)) return false;
      return !sought || rows.concept[i].toLowerCase().includes(sought) || latents(rows.latent[i]).includes(sought);
    });
  };
  for (const id of ["search", "sure", "all"]) $(id).addEventListener("input", refresh);
  table.add(chunk.rows);
  if ("margin" in chunk.rows) table.sort("margin", true);
  refresh();
})();
