"use strict";
// A table of any length: only the rows in sight are in the document. Rows keep their element while they stay in sight,
// so that the keyboard's focus is not lost while scrolling.
(() => {
  const { el, write, known } = omnisae;
  const ROW = 36;
  const SPARE = 12;
  const WIDTH = { latent: 76, text: 200, level: 92, share: 74, signed: 82, count: 84, raw: 88, chance: 74, percent: 92 };
  const words = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

  /** A cell's content; latents lead to their page. */
  omnisae.cell = (column, value) => {
    if (column.kind === "latent") return el("a", { href: `latent.html#${value}` }, omnisae.named(value));
    return document.createTextNode(write(column.kind, value));
  };
  omnisae.align = (column) => (column.kind === "text" ? "words" : "num");

  omnisae.Table = class {
    constructor(root, columns, caption) {
      this.root = root;
      this.columns = columns;
      this.rows = {};
      this.order = [];
      this.shown = new Map();
      this.key = null;
      this.down = false;
      this.keep = () => true;
      this.above = el("tr.spacer", { "aria-hidden": "true" }, el("td", { colspan: columns.length }));
      this.below = el("tr.spacer", { "aria-hidden": "true" }, el("td", { colspan: columns.length }));
      this.body = el("tbody", {}, this.above, this.below);
      this.heads = columns.map((column) => this.head(column));
      const width = (column) => Math.max(WIDTH[column.key] || WIDTH[column.kind], 8 * column.title.length + 36);
      const wide = columns.reduce((sum, column) => sum + width(column), 0);
      this.table = el("table.data", { style: `min-width:${wide}px` },
        el("caption.hidden", {}, caption),
        el("colgroup", {}, ...columns.map((column) => el("col", { style: `width:${width(column)}px` }))),
        el("thead", {}, el("tr", { "aria-rowindex": 1 }, ...this.heads)),
        this.body);
      root.replaceChildren(this.table);
      root.addEventListener("scroll", () => this.later());
      window.addEventListener("resize", () => this.later());
    }

    head(column) {
      const button = el("button", { type: "button", title: column.note }, column.title, el("span.arrow", { "aria-hidden": "true" }));
      button.addEventListener("click", () => this.sort(column.key, this.key === column.key ? !this.down : column.kind !== "text" && column.kind !== "latent" && column.kind !== "chance"));
      return el(`th.${omnisae.align(column)}`, { scope: "col", "aria-sort": "none" }, button);
    }

    /** More rows: a mapping from column to values, put behind those that are there. */
    add(rows) {
      for (const [key, values] of Object.entries(rows)) this.rows[key] = (this.rows[key] || []).concat(values);
      this.length = (Object.values(this.rows)[0] || []).length;
      this.arrange();
    }

    filter(keep) {
      this.keep = keep;
      this.arrange(true);
    }

    sort(key, down) {
      this.key = key;
      this.down = down;
      this.arrange(true);
    }

    arrange(top = false) {
      const order = [];
      for (let i = 0; i < (this.length || 0); i += 1) if (this.keep(i, this.rows)) order.push(i);
      if (this.key !== null) {
        const values = this.rows[this.key];
        const kind = this.columns.find((column) => column.key === this.key).kind;
        const number = kind === "latent" ? omnisae.place : Number;
        const compare = kind === "text" ? (a, b) => words.compare(values[a], values[b]) : (a, b) => number(values[a]) - number(values[b]);
        const sign = this.down ? -1 : 1;
        // What is unknown stands last, whichever way the rest is sorted.
        order.sort((a, b) => {
          const missing = !has(values[a]) - !has(values[b]);
          return missing || (has(values[a]) ? sign * compare(a, b) : 0) || a - b;
        });
      }
      this.order = order;
      this.columns.forEach((column, i) => {
        this.heads[i].setAttribute("aria-sort", column.key !== this.key ? "none" : this.down ? "descending" : "ascending");
      });
      this.table.setAttribute("aria-rowcount", order.length + 1);
      for (const row of this.shown.values()) row.remove();
      this.shown.clear();
      if (top) this.root.scrollTop = 0;
      this.draw();
      if (this.changed) this.changed(order.length, this.length || 0);
    }

    later() {
      if (this.waiting) return;
      this.waiting = requestAnimationFrame(() => { this.waiting = null; this.draw(); });
    }

    draw() {
      const first = Math.max(0, Math.floor(this.root.scrollTop / ROW) - SPARE);
      const last = Math.min(this.order.length, Math.ceil((this.root.scrollTop + this.root.clientHeight) / ROW) + SPARE);
      for (const [place, row] of this.shown) {
        if ((place < first || place >= last) && !row.contains(document.activeElement)) { row.remove(); this.shown.delete(place); }
      }
      // A row that holds the keyboard's focus stays in the document even out of sight; spacers stand for all the others.
      const later = [...this.shown.keys()].filter((place) => place >= last);
      let next = later.length ? this.shown.get(Math.min(...later)) : this.below;
      for (let place = last - 1; place >= first; place -= 1) {
        if (!this.shown.has(place)) {
          const row = this.row(place);
          this.shown.set(place, row);
          this.body.insertBefore(row, next);
        }
        next = this.shown.get(place);
      }
      const earlier = [...this.shown.keys()].filter((place) => place < first).length;
      this.above.firstChild.style.height = `${(first - earlier) * ROW}px`;
      this.below.firstChild.style.height = `${(this.order.length - last - later.length) * ROW}px`;
    }

    row(place) {
      const at = this.order[place];
      const cells = this.columns.map((column) => {
        const value = this.rows[column.key][at];
        const cell = el(`td.${omnisae.align(column)}`, {}, omnisae.cell(column, value));
        if (column.kind === "text" && known(value)) cell.title = value;
        if (column.kind === "signed" && known(value)) cell.classList.add(value > 0 ? "above" : "beneath");
        return cell;
      });
      return el("tr", { "aria-rowindex": place + 2, "data-at": at }, ...cells);
    }
  };

  const has = (value) => known(value) && value !== "";
})();
