// The pose editor in the browser: it draws `state` and turns pointers and keys into requests.
//
// What a request does to the pose is decided in Python (gfla/interactive/pose_editor.py,
// gfla/data/posing.py). Pixel (0, 0) of the picture has its centre at the SVG's origin, so no
// coordinate is converted.

const REACH = 26; // screen pixels: how far from a joint a pointer may be and still take it
const TRAY = 8; // units of the picture's size / 64: height of the strip of missing joints

function render({ model, el }) {
  const words = model.get("words"); // names, limbs, colours: constant
  const asking = oneAtATime(model);
  const page = build(words);
  const hand = { joint: -1, pointer: -1, gesture: "", offset: [0, 0], to: null }; // in a drag
  el.append(page.root);

  const state = () => model.get("state");
  const draw = () => drawState(page, words, state(), hand);
  const news = () => {
    page.notice = ""; // what the view itself had to say is over
    draw();
  };
  const drawBehind = () => set(page.behind, { href: model.get("behind") });
  const ask = (request) => asking.ask({ stretch: !page.keep.checked, ...request });
  const hooks = [["change:state", news], ["change:behind", drawBehind]];
  for (const [event, action] of hooks) model.on(event, action);

  listenToButtons(page, state, ask, draw);
  listenToKeys(page, words, state, ask);
  listenToPointers(page, state, ask, hand, draw);
  drawBehind();
  draw();
  return () => {
    asking.stop();
    for (const [event, action] of hooks) model.off(event, action);
  };
}

// ---------------------------------------------------------------- what is on the page

function button(name, attributes, title) {
  return make("button", { type: "button", title, ...attributes }, name);
}

function build(words) {
  const buttons = {
    undo: button("Undo", { "data-do": "undo" }, "One step back (Ctrl+Z)"),
    redo: button("Redo", { "data-do": "redo" }, "One step forth (Ctrl+Shift+Z)"),
    reset: button("Reset", { "data-do": "reset" }, "The pose it began with"),
    random: button("Random", { "data-do": "random" }, "Another pose by chance"),
    copy: button("Copy", { "data-open": "copy", "aria-label": "Copy JSON" },
      "The pose as OpenPose's JSON"),
    paste: button("Paste", { "data-open": "paste", "aria-label": "Paste JSON" },
      "Read OpenPose or COCO JSON"),
  };
  const presets = words.presets.map((name) =>
    button(name, { "data-do": "preset", "data-name": name }, `Take the pose “${name}”`),
  );
  const bar = make(
    "div",
    { class: "gfla-bar", role: "toolbar", "aria-label": "Pose" },
    make("span", { class: "gfla-group" }, ...Object.values(buttons).slice(0, 4)),
    make("span", { class: "gfla-group" }, buttons.copy, buttons.paste),
    make("span", { class: "gfla-group", role: "group", "aria-label": "Presets" }, ...presets),
  );

  const behind = make("image", { class: "gfla-behind", preserveAspectRatio: "none" });
  const paper = make("rect", { class: "gfla-paper" });
  const casings = words.limbs.map(() => make("line", { class: "gfla-casing" }));
  const limbs = words.colors.map((stroke) => make("line", { class: "gfla-limb", stroke }));
  const pull = make("line", { class: "gfla-pull" });
  const tray = make("text", { class: "gfla-tray" }, "missing");
  const joints = words.joints.map((name, index) =>
    make(
      "g",
      { class: "gfla-joint", tabindex: 0, role: "button", "aria-roledescription": "joint",
        "data-joint": name },
      make("circle", { class: "gfla-ring" }),
      make("circle", { class: "gfla-dot" }),
      make("path", { class: "gfla-cross" }),
      make("text", { class: "gfla-number", "aria-hidden": "true" }, String(index)),
    ),
  );
  const label = make("text", { class: "gfla-label", "aria-hidden": "true" });
  const stage = make(
    "svg",
    { class: "gfla-stage", role: "application",
      "aria-label": "Skeleton. Tab to a joint; arrow keys move it, with Shift by five pixels; "
        + "Delete takes it away; Enter brings a missing one in." },
    paper, behind, ...casings, ...limbs, pull, tray, ...joints, label,
  );

  const keep = make("input", { type: "checkbox", checked: "" });
  const person = make("input", { type: "checkbox", checked: "" });
  const numbers = make("input", { type: "checkbox" });
  const readout = make("span", { class: "gfla-readout" });
  const message = make("div", { class: "gfla-message", role: "status" });
  const text = make("textarea", { rows: 4, spellcheck: "false", "aria-label": "Pose as JSON" });
  const use = button("Use this pose", { "data-open": "use" }, "Read the text above");
  const close = button("Close", { "data-open": "close" }, "Put the text away");
  const drawer = make("div", { class: "gfla-drawer", hidden: "" }, text, use, close);
  const root = make(
    "div",
    { class: "gfla-editor", "data-lm-suppress-shortcuts": "true" }, // JupyterLab keeps its keys out
    bar,
    stage,
    make("div", { class: "gfla-foot" }, readout,
      make("label", { title: "Off: a joint moves alone and bones change" }, keep, "keep lengths"),
      make("label", { title: "The generated person behind the skeleton" }, person, "person"),
      make("label", { title: "Each joint's index in OpenPose's order" }, numbers, "order")),
    message,
    drawer,
  );
  person.addEventListener("change", () => root.classList.toggle("gfla-bare", !person.checked));
  numbers.addEventListener("change", () => root.classList.toggle("gfla-numbered", numbers.checked));
  return { root, buttons, stage, paper, behind, casings, limbs, pull, tray, joints, label,
    keep, readout, message, text, use, drawer };
}

// ---------------------------------------------------------------- drawing

const spoken = (name) => name.replace("_", " ");

// Where each joint is drawn: its place, or its place in the strip below the picture if missing.
function places(state) {
  const [height, width] = state.size;
  const unit = height / 64;
  const missing = state.points.flatMap((point, index) => (point ? [] : [index]));
  const start = 16 * unit; // right of the word "missing"
  const step = Math.min(4.5 * unit, (width - start) / Math.max(1, missing.length));
  return state.points.map((point, index) =>
    point ?? [start + step * missing.indexOf(index), height + (TRAY / 2) * unit - 0.5],
  );
}

function drawState(page, words, state, hand) {
  const [height, width] = state.size;
  const unit = height / 64;
  const at = places(state);
  const lost = state.points.some((point) => !point);
  const box = [-0.5, -0.5, width, height + (lost ? TRAY * unit : 0)];
  set(page.stage, { viewBox: box.join(" ") });
  page.stage.style.setProperty("--unit", unit);
  page.stage.style.aspectRatio = `${box[2]} / ${box[3]}`;
  for (const node of [page.paper, page.behind]) set(node, { x: -0.5, y: -0.5, width, height });
  set(page.tray, { x: unit, y: height + 5 * unit - 0.5 });
  page.tray.toggleAttribute("hidden", !lost);

  words.limbs.forEach(([a, b], i) => {
    const there = state.points[a] && state.points[b];
    for (const line of [page.casings[i], page.limbs[i]]) {
      line.toggleAttribute("hidden", !there);
      if (there) set(line, { x1: at[a][0], y1: at[a][1], x2: at[b][0], y2: at[b][1] });
    }
  });
  page.joints.forEach((joint, index) => drawJoint(joint, words, state, at[index], index, unit));

  const { joint, to } = hand;
  page.pull.toggleAttribute("hidden", !to);
  if (to) set(page.pull, { x1: at[joint][0], y1: at[joint][1], x2: to[0], y2: to[1] });
  drawLabel(page, words, state, at, unit);

  page.buttons.undo.disabled = !state.undo;
  page.buttons.redo.disabled = !state.redo;
  page.message.textContent = page.notice || state.message;
  page.message.classList.toggle("gfla-wrong", state.wrong && !page.notice);
  page.root.classList.toggle("gfla-busy", state.busy);
  set(page.root, { "data-frame": state.frame, "data-busy": state.busy });
}

function drawJoint(joint, words, state, [x, y], index, unit) {
  const there = state.points[index] !== null;
  const face = index === 0 || index > 13; // nose, eyes and ears lie close together
  const radius = (face ? 0.75 : 1.15) * unit;
  const arm = 0.6 * radius;
  const [ring, dot, cross, number] = joint.children;
  set(joint, {
    transform: `translate(${x} ${y})`,
    "aria-label": there
      ? `${spoken(words.joints[index])}, x ${Math.round(x)}, y ${Math.round(y)}`
      : `${spoken(words.joints[index])}, missing; Enter brings it in`,
  });
  joint.classList.toggle("gfla-missing", !there);
  set(ring, { r: radius + 0.9 * unit });
  set(dot, { r: there ? radius : 1.2 * unit });
  set(cross, { d: `M${-arm},${-arm} L${arm},${arm} M${-arm},${arm} L${arm},${-arm}` });
  set(number, { x: 1.4 * unit, y: -1.2 * unit });
}

// The name beside the joint that has the focus or lies under the pointer.
function drawLabel(page, words, state, at, unit) {
  const focused = page.joints.indexOf(page.root.getRootNode().activeElement);
  const index = page.hovered ?? (focused >= 0 ? focused : -1);
  page.label.toggleAttribute("hidden", index < 0);
  page.joints.forEach((joint, i) => joint.classList.toggle("gfla-near", i === index));
  if (index < 0) {
    page.readout.textContent = "";
    return;
  }
  const [x, y] = at[index];
  const right = x < state.size[1] / 2; // the label stays inside the picture
  set(page.label, {
    x: x + (right ? 2.8 : -2.8) * unit, y: y + unit, "text-anchor": right ? "start" : "end",
  });
  page.label.textContent = spoken(words.joints[index]);
  page.readout.textContent = state.points[index]
    ? `x ${x.toFixed(1)}  y ${y.toFixed(1)}`
    : "missing";
}

// ---------------------------------------------------------------- listening

function listenToButtons(page, state, ask, draw) {
  const open = (filled) => {
    page.drawer.hidden = false;
    page.text.value = filled ? state().json : "";
    page.text.placeholder = "OpenPose or COCO JSON, or a list of 18 [x, y]";
    page.use.hidden = filled;
    page.text.focus({ preventScroll: true });
    page.text.select();
  };
  const say = (notice) => {
    page.notice = notice;
    draw();
  };
  const drawers = {
    copy: () =>
      // Without the right to the clipboard (a page over plain http), the text is there to take.
      Promise.resolve(navigator.clipboard?.writeText(state().json) ?? Promise.reject())
        .then(() => say("The pose is in the clipboard."))
        .catch(() => { open(true); say("Copy the selected text."); }),
    paste: () => open(false),
    use: () => ask({ do: "paste", text: page.text.value }),
    close: () => {
      page.drawer.hidden = true;
      page.buttons.paste.focus({ preventScroll: true });
    },
  };
  page.root.addEventListener("click", (event) => {
    const pressed = event.target.closest?.("button");
    if (!pressed) return;
    const { do: what, name, open: drawer } = pressed.dataset;
    if (drawer) drawers[drawer]();
    else ask(name ? { do: what, name } : { do: what });
  });
}

function listenToKeys(page, words, state, ask) {
  let presses = 0;
  page.root.addEventListener("keydown", (event) => {
    event.stopPropagation(); // the notebook's own keys move cells
    const typing = event.target === page.text;
    if (typing && event.key === "Escape") page.drawer.hidden = true;
    if (typing) return;
    const letter = event.key.toLowerCase();
    if ((event.ctrlKey || event.metaKey) && (letter === "z" || letter === "y")) {
      event.preventDefault();
      ask({ do: letter === "y" || event.shiftKey ? "redo" : "undo" });
      return;
    }
    const index = page.joints.indexOf(event.target);
    if (index < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const joint = words.joints[index];
    const there = state().points[index] !== null;
    const arrow = ARROWS[event.key];
    if (arrow && there) {
      if (!event.repeat) presses += 1; // a key held down is one step for undo
      const step = event.shiftKey ? 5 : 1;
      ask({ do: "nudge", joint, by: arrow.map((d) => d * step), gesture: `key ${presses}` });
    } else if (!there && (arrow || event.key === "Enter" || event.key === " ")) {
      ask({ do: "add", joint });
    } else if (there && (event.key === "Delete" || event.key === "Backspace")) {
      ask({ do: "remove", joint });
    } else {
      return;
    }
    event.preventDefault();
  });
}

function listenToPointers(page, state, ask, hand, draw) {
  let drags = 0;

  const nearest = (event) => {
    const { x, y } = pixelUnder(page.stage, event);
    const scale = page.stage.getScreenCTM().a; // screen pixels of one pixel of the picture
    const far = places(state()).map(([px, py]) => Math.hypot(px - x, py - y) * scale);
    const index = far.indexOf(Math.min(...far));
    return far[index] <= REACH ? index : -1;
  };

  page.stage.addEventListener("pointerdown", (event) => {
    const index = nearest(event);
    if (index < 0 || event.button !== 0 || hand.joint >= 0) return; // one finger drags
    event.preventDefault(); // no text selection, no picture dragged away
    page.joints[index].focus({ preventScroll: true });
    const { x, y } = pixelUnder(page.stage, event);
    const [px, py] = places(state())[index];
    drags += 1;
    Object.assign(hand, { joint: index, pointer: event.pointerId, gesture: `drag ${drags}`,
      offset: [px - x, py - y], to: null });
    page.stage.setPointerCapture(event.pointerId);
    page.root.classList.add("gfla-dragging");
  });

  page.stage.addEventListener("pointermove", (event) => {
    if (hand.joint < 0) {
      const index = nearest(event);
      page.hovered = index < 0 ? undefined : index;
      page.stage.classList.toggle("gfla-grab", index >= 0);
      draw();
      return;
    }
    if (event.pointerId !== hand.pointer) return;
    const { x, y } = pixelUnder(page.stage, event);
    const [height, width] = state().size; // the hand may leave the picture, the joint does not
    hand.to = [
      Math.max(-0.5, Math.min(width - 0.5, x + hand.offset[0])),
      Math.max(-0.5, Math.min(height - 0.5, y + hand.offset[1])),
    ];
    const joint = page.joints[hand.joint].dataset.joint;
    ask({ do: "move", joint, to: hand.to, gesture: hand.gesture });
    draw();
  });

  const release = (event) => {
    if (event.pointerId !== hand.pointer) return;
    const tapped = hand.joint >= 0 && !hand.to;
    const index = hand.joint;
    Object.assign(hand, { joint: -1, pointer: -1, to: null });
    page.root.classList.remove("gfla-dragging");
    const joint = tapped && page.joints[index].dataset.joint;
    if (tapped && !state().points[index]) ask({ do: "add", joint });
    draw();
  };
  page.stage.addEventListener("pointerup", release);
  page.stage.addEventListener("pointercancel", release);
  page.stage.addEventListener("pointerleave", () => {
    page.hovered = undefined;
    draw();
  });
  page.stage.addEventListener("focusin", draw);
  page.stage.addEventListener("focusout", draw);
}

export default { render };
