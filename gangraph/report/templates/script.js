"use strict";
for (const film of document.querySelectorAll(".film")) {
  const {steps, pictures, shown} = JSON.parse(film.querySelector("script").textContent);
  const images = [...film.querySelectorAll("img")];
  const slider = film.querySelector(".slider"), range = slider.querySelector("input"), said = slider.querySelector("output");
  images.forEach((image, i) => pictures[i].push(image.src));
  const show = () => {
    const now = Number(range.value), step = `step ${steps[now].toLocaleString("en")}`;
    images.forEach((image, i) => {
      image.src = pictures[i][shown[i][now]];
      image.alt = image.dataset.about.replace("{}", step);
    });
    said.textContent = step;
    range.setAttribute("aria-valuetext", step);
  };
  range.addEventListener("input", show);
  slider.hidden = steps.length < 2;
  range.value = steps.length - 1;
  for (const image of images) {
    const button = document.createElement("button"), figure = image.closest("figure");
    image.replaceWith(button);
    button.append(image);
    button.type = "button";
    button.setAttribute("aria-label", image.dataset.larger);
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", String(figure.classList.toggle("large")));
      figure.scrollIntoView({block: "nearest"});
    });
  }
}
for (const tools of document.querySelectorAll(".tools")) {
  const frame = tools.nextElementSibling, svg = frame.querySelector("svg");
  let zoom = 1, from = null;
  const scale = factor => {
    const x = frame.scrollLeft + frame.clientWidth / 2, y = frame.scrollTop + frame.clientHeight / 2;
    const before = svg.getBoundingClientRect().width;
    zoom = factor ? Math.min(6, Math.max(1, zoom * factor)) : 1;
    svg.style.width = `${100 * zoom}%`;
    svg.style.minWidth = zoom > 1 ? `${52 * zoom}rem` : "";
    const by = svg.getBoundingClientRect().width / before;
    frame.scrollTo(x * by - frame.clientWidth / 2, y * by - frame.clientHeight / 2);
  };
  for (const button of tools.children) button.addEventListener("click", () => scale(Number(button.value)));
  tools.hidden = false;
  frame.addEventListener("pointerdown", event => {
    if (event.pointerType === "mouse" && event.button === 0) {
      from = [event.clientX + frame.scrollLeft, event.clientY + frame.scrollTop];
    }
  });
  addEventListener("pointermove", event => {
    if (!from) return;
    frame.classList.add("dragged");
    frame.scrollTo(from[0] - event.clientX, from[1] - event.clientY);
  });
  addEventListener("pointerup", () => { from = null; frame.classList.remove("dragged"); });
}
const closed = [];
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open])")) { details.open = true; closed.push(details); }
});
addEventListener("afterprint", () => { while (closed.length) closed.pop().open = false; });
