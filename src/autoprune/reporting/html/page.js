"use strict";
// Draws the figures one after another, so that the page can be read meanwhile, in the colours of
// the reader's theme: the figures name light colours, the table "dark" has their dark forms.
(() => {
  const theme = matchMedia("(prefers-color-scheme: dark)");
  const swap = JSON.parse(document.getElementById("dark").textContent);
  const places = [...document.querySelectorAll(".plot")];

  function draw(place) {
    const text = document.getElementById(place.id + "-data").textContent;
    const spec = JSON.parse(text, (_, value) =>
      theme.matches && typeof value === "string" && Object.hasOwn(swap, value) ? swap[value] : value);
    return Plotly.react(place, spec.data, spec.layout, { responsive: true, displayModeBar: false });
  }

  async function drawAll() {
    for (const place of places) {
      await draw(place);
      await new Promise((done) => setTimeout(done));
    }
    document.documentElement.dataset.drawn = theme.matches ? "dark" : "light";
  }

  theme.addEventListener("change", drawAll);
  addEventListener("beforeprint", () => places.forEach((place) => Plotly.Plots.resize(place)));
  drawAll();
})();
