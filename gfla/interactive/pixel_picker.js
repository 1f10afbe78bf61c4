// A picture of which a pixel is chosen: by hovering, by a click that holds it, by the arrow keys.
//
// The picture is the trait `picture`; the chosen pixel is in `state`, and Python says what follows
// from it (gfla/interactive/pixel_picker.py).

function render({ model, el }) {
  const asking = oneAtATime(model);
  const state = () => model.get("state");
  const picture = make("image", { class: "gfla-pixels", preserveAspectRatio: "none" });
  const casing = make("rect", { class: "gfla-aim gfla-casing" });
  const aim = make("rect", { class: "gfla-aim" });
  const stage = make("svg", { class: "gfla-picker", tabindex: 0, role: "application",
    "data-lm-suppress-shortcuts": "true" }, picture, casing, aim);
  el.append(stage);

  const drawPicture = () => set(picture, { href: model.get("picture") });
  const draw = () => {
    const { size: [height, width], pixel, held } = state();
    set(stage, { viewBox: `-0.5 -0.5 ${width} ${height}`, "aria-label": spokenLabel(state()) });
    stage.style.aspectRatio = `${width} / ${height}`;
    set(picture, { x: -0.5, y: -0.5, width, height });
    for (const box of [casing, aim]) {
      box.toggleAttribute("hidden", !pixel);
      if (pixel) set(box, { x: pixel[0] - 1, y: pixel[1] - 1, width: 2, height: 2 });
    }
    stage.classList.toggle("gfla-held", held);
  };
  const hooks = [["change:state", draw], ["change:picture", drawPicture]];
  for (const [event, action] of hooks) model.on(event, action);

  const under = (event) => {
    const [height, width] = state().size;
    const { x, y } = pixelUnder(stage, event);
    const inside = (value, end) => Math.max(0, Math.min(end - 1, Math.round(value)));
    return [inside(x, width), inside(y, height)];
  };
  stage.addEventListener("pointermove", (event) => {
    if (!state().held || event.buttons) look(under(event), state().held);
  });
  stage.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    stage.focus({ preventScroll: true });
    const [x, y] = under(event);
    const again = state().held && Math.hypot(x - state().pixel[0], y - state().pixel[1]) < 2;
    look([x, y], !again); // a second click on the same place lets it go
  });
  stage.addEventListener("keydown", (event) => {
    event.stopPropagation(); // the notebook's own keys move cells
    const arrow = ARROWS[event.key];
    if (!arrow) return;
    event.preventDefault();
    const [height, width] = state().size;
    const from = state().pixel ?? [width >> 1, height >> 1];
    const step = event.shiftKey ? 5 : 1;
    const to = from.map((value, axis) => value + arrow[axis] * step);
    look([Math.max(0, Math.min(width - 1, to[0])), Math.max(0, Math.min(height - 1, to[1]))], true);
  });

  function look(pixel, held) {
    const now = state();
    if (String(now.pixel) === String(pixel) && now.held === held) return;
    asking.ask({ do: "look", pixel, held });
  }

  drawPicture();
  draw();
  return () => {
    asking.stop();
    for (const [event, action] of hooks) model.off(event, action);
  };
}

function spokenLabel({ label, pixel }) {
  const place = pixel ? `pixel ${pixel[0]}, ${pixel[1]}` : "no pixel chosen";
  return `${label}: ${place}. Arrow keys choose a pixel, with Shift by five.`;
}

export default { render };
