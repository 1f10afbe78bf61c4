// Makes of a row of pictures one picture and a slider. Without this script the row is what is seen.
for (const box of document.querySelectorAll('[data-gfla-slider="DIGEST"]:not([data-live])')) {
  box.dataset.live = "";
  const frames = [...box.querySelectorAll("img")];
  const slider = document.createElement("input");
  const told = document.createElement("output");
  const line = document.createElement("label");
  Object.assign(slider, { type: "range", min: 0, max: frames.length - 1, step: 1 });
  slider.value = box.dataset.start;
  slider.style.width = "320px";
  line.style.cssText = "display:flex;align-items:center;gap:0.8em;margin:0.3em 0";
  line.append(box.dataset.what, slider, told);
  const show = () => {
    frames.forEach((frame, place) => {
      frame.style.display = place === Number(slider.value) ? "block" : "none";
      frame.removeAttribute("height");
      frame.style.width = "min(100%, " + 1.25 * frame.naturalWidth + "px)";
    });
    told.value = frames[slider.value].alt;
    slider.setAttribute("aria-valuetext", told.value);
  };
  slider.addEventListener("input", show);
  for (const frame of frames) frame.addEventListener("load", show);
  box.prepend(line);
  show();
}
