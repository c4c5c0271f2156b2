"use strict";
// A heatmap over a picture: the plain picture beside it, colours on the latent's one scale, every token's value at hand.
(() => {
  const { el, short } = omnisae;
  const STRONG = 0.84; // how much of the picture a colour hides, the same everywhere but at the faint edge of smooth ones
  const FAINT = 0.12;

  const rgb = (code) => [1, 3, 5].map((i) => parseInt(code.slice(i, i + 2), 16));
  let scale = null;
  omnisae.scale = (codes) => { scale = codes.map(rgb); };

  const paint = (canvas, values, columns, rows, ceiling, smooth) => {
    const fine = smooth ? Math.max(1, Math.min(16, Math.floor(288 / Math.max(columns, rows)))) : 1;
    canvas.width = columns * fine;
    canvas.height = rows * fine;
    const context = canvas.getContext("2d");
    const picture = context.createImageData(canvas.width, canvas.height);
    for (let y = 0; y < canvas.height; y += 1) {
      for (let x = 0; x < canvas.width; x += 1) {
        const value = fine === 1 ? values[y * columns + x] : between(values, columns, rows, (x + 0.5) / fine - 0.5, (y + 0.5) / fine - 0.5);
        if (value <= 0 || ceiling <= 0) continue;
        const share = Math.min(value / ceiling, 1);
        const [r, g, b] = scale[Math.round(share * 255)];
        const alpha = smooth ? Math.min(1, share / FAINT) * STRONG : STRONG;
        picture.data.set([r, g, b, Math.round(255 * alpha)], 4 * (y * canvas.width + x));
      }
    }
    context.putImageData(picture, 0, 0);
    canvas.classList.toggle("patches", !smooth);
  };

  // Between tokens the value is interpolated, not the colour: every colour on the page is then a value of the scale.
  const between = (values, columns, rows, x, y) => {
    const left = Math.min(Math.max(x, 0), columns - 1);
    const up = Math.min(Math.max(y, 0), rows - 1);
    const [x0, y0] = [Math.floor(left), Math.floor(up)];
    const [x1, y1] = [Math.min(x0 + 1, columns - 1), Math.min(y0 + 1, rows - 1)];
    const [fx, fy] = [left - x0, up - y0];
    const upper = values[y0 * columns + x0] * (1 - fx) + values[y0 * columns + x1] * fx;
    const lower = values[y1 * columns + x0] * (1 - fx) + values[y1 * columns + x1] * fx;
    return upper * (1 - fy) + lower * fy;
  };

  const image = (picture, alt) =>
    el("img", { src: picture.src, width: picture.width, height: picture.height, alt, loading: "lazy", decoding: "async" });

  const pointer = (frame, drawing, values, ceiling) => {
    const { rows, columns } = drawing;
    const cursor = el("span.cursor", { hidden: true });
    const tip = el("output.tip", { "aria-live": "polite", hidden: true });
    frame.append(cursor, tip);
    let at = null;
    const strongest = () => values.reduce((best, value, i) => (value > values[best] ? i : best), 0);
    const show = (index) => {
      at = index;
      const [y, x] = [Math.floor(index / columns), index % columns];
      Object.assign(cursor.style, { left: `${(100 * x) / columns}%`, top: `${(100 * y) / rows}%`, width: `${100 / columns}%`, height: `${100 / rows}%` });
      const share = ceiling > 0 && values[index] > 0 ? ` · ${Math.round((100 * values[index]) / ceiling)} % of max` : "";
      tip.textContent = `y ${y + 1}, x ${x + 1}: ${values[index] > 0 ? short(values[index]) : "silent"}${share}`;
      tip.classList.toggle("low", y < rows / 2);
      cursor.hidden = tip.hidden = false;
    };
    const hide = () => { if (document.activeElement !== frame) cursor.hidden = tip.hidden = true; };
    frame.addEventListener("pointermove", (event) => {
      const box = frame.getBoundingClientRect();
      const x = Math.floor(((event.clientX - box.left) / box.width) * columns);
      const y = Math.floor(((event.clientY - box.top) / box.height) * rows);
      if (x >= 0 && y >= 0 && x < columns && y < rows) show(y * columns + x);
    });
    frame.addEventListener("pointerleave", hide);
    frame.addEventListener("focus", () => show(at === null ? strongest() : at));
    frame.addEventListener("blur", () => { cursor.hidden = tip.hidden = true; });
    frame.addEventListener("keydown", (event) => {
      const [y, x] = [Math.floor(at / columns), at % columns];
      const next = {
        ArrowLeft: () => y * columns + Math.max(x - 1, 0),
        ArrowRight: () => y * columns + Math.min(x + 1, columns - 1),
        ArrowUp: () => Math.max(y - 1, 0) * columns + x,
        ArrowDown: () => Math.min(y + 1, rows - 1) * columns + x,
        Home: strongest,
      }[event.key];
      if (!next || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      show(next());
    });
  };

  /** The drawing's element; `repaint(smooth)` changes how it is drawn. `who` names the example for a screen reader. */
  omnisae.heat = (drawing, ceiling, smooth, who) => {
    const values = new Float32Array(drawing.rows * drawing.columns);
    drawing.at.forEach((place, i) => { values[place] = drawing.v[i]; });
    const canvas = el("canvas", { "aria-hidden": "true" });
    const size = drawing.picture ? `${drawing.picture.width} / ${drawing.picture.height}` : `${drawing.columns} / ${drawing.rows}`;
    const frame = el("div.frame.hot", {
      tabindex: 0, role: "group", "aria-roledescription": "heatmap", style: `aspect-ratio:${size}`,
      "aria-label": `${who}: ${drawing.alt}. Arrow keys read single tokens.`,
    }, drawing.picture ? image(drawing.picture, "") : null, canvas);
    pointer(frame, drawing, values, ceiling);
    const plain = drawing.picture ? el("div.frame", { style: `aspect-ratio:${size}` }, image(drawing.picture, `${who}, plain`)) : null;
    const made = el("div.pair", {}, plain, frame);
    made.repaint = (soft) => paint(canvas, values, drawing.columns, drawing.rows, ceiling, soft);
    made.repaint(smooth);
    return made;
  };
})();
