// Canvases that are looked through by pointer and keyboard.

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function floats(packed) {
  const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, place) => view.getFloat32(4 * place, true));
}

// The colour [r, g, b] of a value, or null where it has none (no mass at all on a logarithmic scale).
function colourOn(scale, value) {
  if (!Number.isFinite(value) || (scale.logarithmic && value <= 0)) return null;
  const place = scale.logarithmic ? Math.log : (plain) => plain;
  const share = (place(value) - place(scale.low)) / (place(scale.high) - place(scale.low) || 1);
  return data.colours[Math.round(Math.min(1, Math.max(0, share)) * (data.colours.length - 1))];
}

const rgb = (colour) => `rgb(${colour.join(" ")})`;

function showScale(box, words, scale) {
  const [title, bar, ticks] = box.children;
  title.textContent = `${words}${scale.logarithmic ? " (logarithmic)" : ""}${scale.none ? "; grey: none" : ""}`;
  bar.style.background = `linear-gradient(to right, ${data.colours.map(rgb).join(", ")})`;
  ticks.replaceChildren(...scale.ticks.map((tick) => make("span", "", digits(tick))));
}

const font = "12px system-ui, 'DejaVu Sans', sans-serif";

// A context in units of CSS pixels, cleared.
function cleared(canvas, width, height) {
  const density = Math.max(window.devicePixelRatio || 1, 2);
  canvas.width = Math.round(width * density);
  canvas.height = Math.round(height * density);
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.scale(density, density);
  pen.font = font;
  return pen;
}

function fitted(pen, text, width) {
  if (pen.measureText(text).width <= width) return text;
  const letters = Array.from(text);
  while (letters.length > 1 && pen.measureText(`${letters.join("")}…`).width > width) letters.pop();
  return `${letters.join("")}…`;
}

function write(pen, text, x, y, align, turned) {
  pen.save();
  pen.translate(x, y);
  if (turned) pen.rotate(-Math.PI / 2);
  pen.textAlign = align;
  pen.textBaseline = "middle";
  pen.fillText(text, 0, 0);
  pen.restore();
}

// Calls then(value) now and whenever another radio button of a name is chosen.
function choosing(name, then) {
  const inputs = [...document.querySelectorAll(`input[name=${name}]`)];
  const choose = () => then(inputs.find((input) => input.checked).value);
  inputs.forEach((input) => input.addEventListener("change", choose));
  choose();
}

// Shows what a canvas is pointed at: beside it, and to screen readers where `spoken`.
function tell(name, rows, entries, kept, spoken) {
  const [box, said] = [find(`${name}-detail`), find(`${name}-said`)];
  const state = kept ? "● Kept: click again or press Escape to let go." : "Click or press Enter to keep.";
  box.classList.toggle("kept", kept);
  box.replaceChildren(make("p", "state", state), samples(...rows), numbers(entries));
  const values = entries.map(([what, value]) => `${what} ${value}`).join(", ");
  if (spoken) said.textContent = `${rows.map(told).join(" and ")}: ${values}${kept ? "; kept" : ""}`;
}

// A picture has items, which are numbers: `first` is looked at first, at(x, y) is the item there or null,
// step(item, dx, dy, far) its neighbour or null, show(item, kept, spoken) draws with it marked.
class Explorer {
  static moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  constructor(canvas, picture) {
    [this.picture, this.item, this.kept] = [picture, picture.first, false];
    canvas.addEventListener("pointermove", (event) => this.hover(event));
    canvas.addEventListener("click", (event) => this.click(event));
    canvas.addEventListener("keydown", (event) => this.press(event));
    new ResizeObserver(() => this.again()).observe(canvas.parentElement);
    for (const media of ["print", "(prefers-color-scheme: dark)"]) {
      window.matchMedia(media).addEventListener("change", () => this.again());
    }
  }

  again() {
    this.picture.show(this.item, this.kept, false);
  }

  go(item, kept) {
    [this.item, this.kept] = [item ?? this.item, kept];
    this.picture.show(this.item, this.kept, true);
  }

  hover(event) {
    const item = this.kept || event.pointerType === "touch" ? null : this.picture.at(event.offsetX, event.offsetY);
    if (item === null || item === this.item) return;
    this.item = item;
    this.again();
  }

  click(event) {
    const item = this.picture.at(event.offsetX, event.offsetY);
    this.go(item, item !== null && !(this.kept && item === this.item));
  }

  press(event) {
    const move = Explorer.moves[event.key];
    if (move) this.go(this.picture.step(this.item, move[0], move[1], event.shiftKey), false);
    else if (event.key === "Enter" || event.key === " ") this.go(this.item, true);
    else if (event.key === "Escape") this.go(this.item, false);
    else return;
    event.preventDefault();
  }
}
