// Draws the figures of a report: in the reader's theme on a screen, light on paper.
(() => {
  "use strict";
  const root = document.documentElement;
  const figures = [...document.querySelectorAll("figure")];
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const PAPER_WIDTH = 688; // A4 less 14 mm at either side, in CSS pixels
  let onPaper = root.dataset.media === "paper";

  const theme = () => {
    if (onPaper) return "light";
    if (root.dataset.theme !== "auto") return root.dataset.theme;
    return prefersDark.matches ? "dark" : "light";
  };

  const draw = (figure) => {
    const kept =
      figure.querySelector(`script[data-theme="${theme()}"]`) ??
      figure.querySelector("script[data-theme]");
    const { data, layout } = JSON.parse(kept.textContent);
    const room = figure.querySelector(".room");
    const size = onPaper ? { width: PAPER_WIDTH, autosize: false } : { autosize: true };
    Plotly.react(room, data, { ...layout, ...size }, {
      displaylogo: false,
      responsive: !onPaper,
      staticPlot: onPaper,
    });
    figure.dataset.drawn = theme();
  };

  const drawAll = () => figures.forEach(draw);
  const turn = (paper) => {
    if (root.dataset.media === "paper") return;
    onPaper = paper;
    drawAll();
  };

  drawAll();
  prefersDark.addEventListener("change", drawAll);
  addEventListener("beforeprint", () => turn(true));
  addEventListener("afterprint", () => turn(false));
})();
