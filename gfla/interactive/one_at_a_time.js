// How a widget's view asks the kernel. Put in front of every widget's own file
// (gfla/interactive/one_at_a_time.py).
//
// All that the kernel knows is in one synced value, `state`, and only the kernel changes it. A view
// puts a `request` beside it and waits until `state.answered` names that request. What is asked in
// the meantime waits here, and a newer move of the same joint takes the place of the older one: at
// most one request is under way, and there is never a queue of frames that nobody wants any more.

const PATIENCE = 15000; // milliseconds; an answer that takes longer is no longer waited for

function oneAtATime(model) {
  const view = Math.random().toString(36).slice(2); // two views never mix answers, or drags
  const waiting = [];
  let count = 0;
  let underway = "";
  let since = 0;

  function send(request) {
    count += 1;
    underway = `${view}-${count}`;
    since = performance.now();
    if (request.gesture) request = { ...request, gesture: `${view} ${request.gesture}` };
    model.set("state", { ...model.get("state"), request: { ...request, id: underway } });
    model.save_changes();
  }

  function ask(request) {
    if (!underway || performance.now() - since > PATIENCE) {
      waiting.length = 0;
      send(request);
      return;
    }
    const last = waiting.at(-1);
    if (last && last.do === request.do && last.joint === request.joint) {
      if (request.do === "nudge") {
        request = { ...request, by: [last.by[0] + request.by[0], last.by[1] + request.by[1]] };
      }
      if (["nudge", "move", "look"].includes(request.do)) waiting.pop();
    }
    waiting.push(request);
  }

  function heard() {
    if (underway && model.get("state").answered === underway) {
      underway = "";
      if (waiting.length) send(waiting.shift());
    }
  }

  model.on("change:state", heard);
  return { ask, stop: () => model.off("change:state", heard) };
}

const SHAPES = new Set(["svg", "g", "line", "circle", "rect", "path", "image", "text", "title"]);

// An HTML or SVG element. Text goes in as text, never as markup.
function make(tag, attributes = {}, ...children) {
  const node = SHAPES.has(tag)
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  set(node, attributes);
  node.append(...children);
  return node;
}

function set(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
}

// Where a pointer is, in the pixels of the picture that an SVG shows (pixel centres at integers).
function pixelUnder(svg, event) {
  const place = new DOMPoint(event.clientX, event.clientY);
  return place.matrixTransform(svg.getScreenCTM().inverse());
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
