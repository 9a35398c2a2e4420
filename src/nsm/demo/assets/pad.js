// A drawing pad: dark ink on white paper. Its value is the picture as a data URL, "" where nothing is drawn.
const canvas = element.querySelector("canvas");
const context = canvas.getContext("2d", { willReadFrequently: true });
const SIDE = canvas.width, PEN = props.pen, STEP = 8, PAUSE = 250;
let strokes = false, down = false, last = null, timer = null;
// What the pad itself gave out: it comes back as a change of the value, when more may have been drawn.
let sent = null;
// The keyboard's pen, seen while the pad has the focus; it is drawn over a copy of the picture.
let pen = { x: SIDE / 2, y: SIDE / 2 }, writing = false, picture = null, shown = false;

function blank() {
  context.fillStyle = "#fff";
  context.fillRect(0, 0, SIDE, SIDE);
  strokes = false;
}

function line(from, to) {
  context.strokeStyle = "#000";
  context.lineWidth = PEN;
  context.lineCap = context.lineJoin = "round";
  context.beginPath();
  context.moveTo(from.x, from.y);
  context.lineTo(to.x, to.y + 0.01);
  context.stroke();
  strokes = true;
}

function send() {
  clearTimeout(timer);
  sent = strokes ? canvas.toDataURL("image/png") : "";
  props.value = sent;
  trigger("drawn");
}

function lift() {
  if (picture) context.putImageData(picture, 0, 0);
  picture = null;
}

function showPen() {
  picture = context.getImageData(0, 0, SIDE, SIDE);
  context.lineWidth = 3;
  context.strokeStyle = writing ? "#d0701f" : "#1f5fa8";
  context.beginPath();
  context.arc(pen.x, pen.y, PEN / 2 + 3, 0, 2 * Math.PI);
  context.stroke();
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return { x: ((event.clientX - box.left) * SIDE) / box.width, y: ((event.clientY - box.top) * SIDE) / box.height };
}

canvas.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  event.preventDefault();
  lift();
  canvas.setPointerCapture(event.pointerId);
  down = true;
  last = place(event);
  line(last, last);
});
canvas.addEventListener("pointermove", (event) => {
  if (!down) return;
  const moves = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
  for (const move of moves.length ? moves : [event]) {
    const now = place(move);
    line(last, now);
    last = now;
  }
});
for (const name of ["pointerup", "pointercancel"])
  canvas.addEventListener(name, () => {
    if (down) send();
    down = false;
  });

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
canvas.addEventListener("keydown", (event) => {
  const arrow = ARROWS[event.key];
  if (!arrow && ![" ", "Delete", "Backspace", "Escape"].includes(event.key)) return;
  event.preventDefault();
  lift();
  if (arrow) {
    const inside = (value) => Math.min(SIDE - PEN / 2, Math.max(PEN / 2, value));
    const next = { x: inside(pen.x + STEP * arrow[0]), y: inside(pen.y + STEP * arrow[1]) };
    if (writing) {
      line(pen, next);
      clearTimeout(timer);
      timer = setTimeout(() => { lift(); send(); if (shown) showPen(); }, PAUSE);
    }
    pen = next;
  } else if (event.key === " ") {
    writing = !writing;
    if (writing) line(pen, pen);
    else send();
  } else if (event.key === "Escape") {
    writing = false;
  } else {
    blank();
    send();
  }
  shown = true;
  showPen();
});
canvas.addEventListener("blur", () => {
  lift();
  shown = writing = false;
});

// The page may put a picture on the pad: a digit to begin with, an uploaded one, or none.
function put() {
  const url = props.value;
  if (url === sent) return;
  sent = null;
  lift();
  blank();
  if (!url) return;
  const image = new Image();
  image.onload = () => {
    context.drawImage(image, 0, 0, SIDE, SIDE);
    strokes = true;
  };
  image.src = url;
}

watch("value", put);
blank();
put();
