"use strict";
// Points on a plane: silent ones grey beneath, the others above in the order of their value.
(() => {
  const { el } = omnisae;
  omnisae.scatter = (drawing, ceiling, run) => {
    const canvas = el("canvas.plate", { role: "img", "aria-label": drawing.alt });
    const draw = (points) => {
      const dense = Math.min(window.devicePixelRatio || 1, 2);
      const side = 420;
      canvas.width = canvas.height = side * dense;
      const context = canvas.getContext("2d");
      context.scale(dense, dense);
      const radius = points.length > 2000 ? 1.7 : points.length > 500 ? 2.4 : 3.2;
      const value = new Float32Array(points.length);
      drawing.at.forEach((place, i) => { value[place] = drawing.v[i]; });
      const order = [...points.keys()].sort((a, b) => value[a] - value[b]);
      for (const i of order) {
        const [x, y] = points[i];
        if (x === null || y === null) continue;
        const share = ceiling > 0 ? Math.min(value[i] / ceiling, 1) : 0;
        context.globalAlpha = share > 0 ? 0.95 : 0.45;
        context.fillStyle = share > 0 ? run.scale[Math.round(share * 255)] : run.silent;
        context.beginPath();
        context.arc(14 + x * (side - 28), 14 + y * (side - 28), share > 0 ? radius * 1.15 : radius, 0, 2 * Math.PI);
        context.fill();
      }
      canvas.dataset.drawn = String(points.length);
    };
    omnisae.need(drawing.points).then(draw, (error) => canvas.replaceWith(el("p.sub", {}, error.message)));
    return canvas;
  };
})();
