"use strict";
// Data chunks are scripts that call omnisae.put: from disk a page may load scripts, but may not fetch.
window.omnisae = (() => {
  const held = new Map();
  const asked = new Map();
  const put = (name, value) => held.set(name, value);
  const need = (name) => {
    if (!asked.has(name)) {
      asked.set(name, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = `data/${name}.js`;
        script.onload = () => {
          script.remove();
          if (held.has(name)) resolve(held.get(name));
          else reject(new Error(`data/${name}.js is damaged`));
        };
        script.onerror = () => reject(new Error(`data/${name}.js is missing`));
        document.head.append(script);
      }));
    }
    return asked.get(name);
  };
  return { put, need };
})();
