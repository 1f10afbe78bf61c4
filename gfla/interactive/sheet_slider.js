// Makes of rows of pictures one row and a slider. Without this script all rows are seen, small.
for (const box of document.querySelectorAll('[data-gfla-slider="DIGEST"]:not([data-live])')) {
  box.dataset.live = "";
  const stops = [...box.querySelectorAll("span")];
  const slider = document.createElement("input");
  const told = document.createElement("output");
  const line = document.createElement("label");
  Object.assign(slider, { type: "range", min: 0, max: stops.length - 1, step: 1 });
  slider.value = box.dataset.start;
  slider.style.width = "320px";
  line.style.cssText = "display:flex;align-items:center;gap:0.8em;margin:0.3em 0";
  line.append(box.dataset.what, slider, told);
  const show = () => {
    stops.forEach((stop, place) => {
      stop.style.display = place === Number(slider.value) ? "" : "none";
    });
    told.value = stops[slider.value].title;
    slider.setAttribute("aria-valuetext", told.value);
  };
  box.querySelectorAll("img").forEach((picture) => (picture.style.height = "SIDEpx"));
  slider.addEventListener("input", show);
  box.prepend(line);
  show();
}
