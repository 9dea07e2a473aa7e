"use strict";
// Viewers: one divider and one slider for all stages; dragging on a picture moves the divider.
for (const viewer of document.querySelectorAll("[data-viewer]")) {
  const swipe = viewer.querySelector(".swipe");
  const slice = viewer.querySelector(".slice");
  const which = viewer.querySelector(".which");
  const source = viewer.querySelector(".labels");
  const labels = source ? JSON.parse(source.textContent) : [];
  const stages = [...viewer.querySelectorAll(".stage")];
  const move = (share) => {
    const at = Math.min(100, Math.max(0, share));
    viewer.style.setProperty("--at", at + "%");
    if (swipe && Math.round(at) !== Number(swipe.value)) swipe.value = Math.round(at);
  };
  const show = (index) => {
    for (const stage of stages) {
      stage.querySelectorAll(".pair").forEach((pair, k) => { pair.hidden = k !== index; });
    }
    if (which) which.textContent = labels[index];
    if (slice) slice.setAttribute("aria-valuetext", labels[index]);
  };
  if (swipe) {
    swipe.addEventListener("input", () => move(Number(swipe.value)));
    for (const stage of stages) {
      const follow = (event) => {
        const box = stage.getBoundingClientRect();
        move((100 * (event.clientX - box.left)) / box.width);
      };
      stage.addEventListener("pointerdown", (event) => {
        if (event.button !== 0) return;
        stage.setPointerCapture(event.pointerId);
        follow(event);
      });
      stage.addEventListener("pointermove", (event) => {
        if (stage.hasPointerCapture(event.pointerId)) follow(event);
      });
    }
    move(Number(swipe.value));
  }
  if (slice) {
    slice.addEventListener("input", () => show(Number(slice.value)));
    slice.value = viewer.dataset.start;
    show(Number(slice.value));
  }
}

// Charts: the values at the pointer, or at a place moved by the arrow keys.
const reading = document.getElementById("reading");
const short = (value) => (value === null ? "–" : Number(value.toPrecision(4)).toLocaleString("en", { maximumSignificantDigits: 4 }));
for (const svg of document.querySelectorAll("svg[data-chart]")) {
  const chart = JSON.parse(svg.dataset.chart);
  const cursor = document.createElementNS("http://www.w3.org/2000/svg", "line");
  cursor.setAttribute("class", "cursor");
  cursor.setAttribute("y1", chart.top);
  cursor.setAttribute("y2", chart.bottom);
  const places = [...new Set(chart.curves.flatMap((curve) => curve.x))].filter((x) => x !== null).sort((a, b) => a - b);
  let at = -1;
  const across = (x) => chart.left + ((x - chart.x[0]) / (chart.x[1] - chart.x[0] || 1)) * (chart.right - chart.left);
  const hide = () => { cursor.remove(); reading.hidden = true; };
  const read = (index) => {
    at = Math.min(places.length - 1, Math.max(0, index));
    const x = places[at];
    cursor.setAttribute("x1", across(x));
    cursor.setAttribute("x2", across(x));
    svg.append(cursor);
    reading.replaceChildren();
    const line = (text, style) => {
      const p = document.createElement("p");
      p.textContent = text;
      if (style) p.className = style;
      reading.append(p);
    };
    const parts = chart.label.split(" / ");
    line(parts[0] + " " + short(x) + (parts[1] ? " " + parts[1] : ""));
    for (const curve of chart.curves) {
      let best = -1;
      curve.x.forEach((value, k) => {
        if (value !== null && (best < 0 || Math.abs(value - x) < Math.abs(curve.x[best] - x))) best = k;
      });
      if (best >= 0) line(curve.name + ": " + short(curve.y[best]), curve.style);
    }
    reading.hidden = false;
    const box = svg.getBoundingClientRect();
    const left = box.left + (across(x) / svg.viewBox.baseVal.width) * box.width;
    const width = reading.offsetWidth;
    reading.style.left = Math.max(6, Math.min(window.innerWidth - width - 6, left + 14 + width > window.innerWidth ? left - width - 14 : left + 14)) + "px";
    reading.style.top = Math.max(6, Math.min(window.innerHeight - reading.offsetHeight - 6, box.top + 14)) + "px";
  };
  const near = (event) => {
    if (!places.length) return;
    const box = svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    let best = 0;
    places.forEach((place, k) => {
      if (Math.abs(across(place) - x) < Math.abs(across(places[best]) - x)) best = k;
    });
    read(best);
  };
  svg.addEventListener("pointermove", near);
  svg.addEventListener("pointerdown", near);
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[event.key];
    if (event.key === "Escape") hide();
    if (!step || !places.length) return;
    event.preventDefault();
    read(at < 0 ? (step > 0 ? 0 : places.length - 1) : at + step);
  });
}

// Steps: all open, or all shut.
for (const button of document.querySelectorAll("[data-folds]")) {
  const folds = [...button.nextElementSibling.querySelectorAll("details")];
  button.addEventListener("click", () => {
    const open = folds.some((fold) => !fold.open);
    for (const fold of folds) fold.open = open;
    button.textContent = open ? "Shut all" : "Open all";
  });
}

// The part that is read is marked in the contents.
const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
if ("IntersectionObserver" in window) {
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of links.values()) link.removeAttribute("aria-current");
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-10% 0px -80% 0px" });
  for (const section of document.querySelectorAll("main > section")) watch.observe(section);
}
// Paper shows what is folded.
window.addEventListener("beforeprint", () => { for (const fold of document.querySelectorAll("details")) fold.open = true; });
