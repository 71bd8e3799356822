"use strict";
// Draws the plots one after another, so that the page can be read meanwhile, in the colours of the
// reader's theme: the plots have light colours, the JSON element "dark" has their dark forms.
(() => {
  const theme = matchMedia("(prefers-color-scheme: dark)");
  const dark = JSON.parse(document.getElementById("dark").textContent);
  const plots = [...document.querySelectorAll(".plot")];

  function draw(plot) {
    const text = document.getElementById(plot.id + "-data").textContent;
    const spec = JSON.parse(text, (_, value) =>
      theme.matches && typeof value === "string" && Object.hasOwn(dark, value) ? dark[value] : value);
    return Plotly.react(plot, spec.data, spec.layout, { responsive: true, displayModeBar: false });
  }

  async function drawAll() {
    for (const plot of plots) {
      await draw(plot);
      await new Promise((done) => setTimeout(done));
    }
    document.documentElement.dataset.drawn = theme.matches ? "dark" : "light";
  }

  theme.addEventListener("change", drawAll);
  addEventListener("beforeprint", () => plots.forEach((plot) => Plotly.Plots.resize(plot)));
  drawAll();
})();
