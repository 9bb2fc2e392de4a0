// Rows in the plane; an item is a place in data.map.rows.

// The same as on paper and on black; with the shape they tell classes apart without colour too.
const palette = [
  "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#b2a300", "#a65628", "#5f7f1f",
];
const grey = "#8a8f98";
const shapes = [
  (pen, x, y, r) => pen.arc(x, y, r, 0, 2 * Math.PI),
  (pen, x, y, r) => pen.rect(x - 0.9 * r, y - 0.9 * r, 1.8 * r, 1.8 * r),
  (pen, x, y, r) => corners(pen, x, y, r, [[0, -1.3], [1.2, 0.9], [-1.2, 0.9]]),
  (pen, x, y, r) => corners(pen, x, y, r, [[0, -1.4], [1.2, 0], [0, 1.4], [-1.2, 0]]),
];

function corners(pen, x, y, r, places) {
  places.forEach(([dx, dy]) => pen.lineTo(x + dx * r, y + dy * r));
  pen.closePath();
}

// How dots look: alike for all rows of a label; the smaller labels share one look.
class ByLabel {
  constructor() {
    this.alone = -1;
  }

  colour(kind) {
    return data.map.kinds[kind].other ? grey : palette[kind];
  }

  shape(kind) {
    return data.map.kinds[kind].other ? shapes[0] : shapes[kind % shapes.length];
  }

  look(item) {
    const kind = data.map.looks[item];
    const faint = this.alone >= 0 && kind !== this.alone;
    return { colour: this.colour(kind), shape: this.shape(kind), faint, height: faint ? 0 : 1 };
  }

  legend(changed) {
    find("plane-scale").hidden = true;
    const buttons = data.map.kinds.map((kind, place) => this.button(kind.name, place, changed));
    find("legend").replaceChildren(...buttons);
  }

  button(name, kind, changed) {
    const button = make("button", "", this.swatch(kind), datum("", name));
    [button.type, button.title] = ["button", name];
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      this.alone = kind === this.alone ? -1 : kind;
      [...find("legend").children].forEach((other, at) => other.setAttribute("aria-pressed", String(at === this.alone)));
      changed();
    });
    return button;
  }

  swatch(kind) {
    const swatch = make("canvas");
    swatch.width = swatch.height = 24;
    const pen = swatch.getContext("2d");
    pen.fillStyle = this.colour(kind);
    pen.beginPath();
    this.shape(kind)(pen, 12, 12, 8);
    pen.fill();
    return swatch;
  }
}

// How dots look: coloured by a number; those without any are faint.
class ByNumber {
  constructor(name, words) {
    [this.words, this.values, this.scale] = [words, floats(data.map[name]), data.map.scales[name]];
  }

  look(item) {
    const colour = colourOn(this.scale, this.values[item]);
    return { colour: colour ? rgb(colour) : grey, shape: shapes[0], faint: colour === null, height: this.values[item] };
  }

  legend() {
    find("legend").replaceChildren();
    find("plane-scale").hidden = false;
    showScale(find("plane-scale"), this.words, this.scale);
  }
}

class Plane {
  constructor() {
    [this.canvas, this.first, this.left, this.top] = [find("plane"), data.map.first, 58, 8];
    [this.x, this.y] = [floats(data.map.x), floats(data.map.y)];
    this.mass = new ByNumber("mass", "mass, times the average row");
    this.suspicion = new ByNumber("suspicion", "suspicion: hardest push on a candidate pair, times the average pair");
    this.label = new ByLabel();
    const explorer = new Explorer(this.canvas, this);
    choosing("colour", (name) => {
      this.looks = this[name];
      this.looks.legend(() => explorer.again());
      this.canvas.setAttribute("aria-label", `Map of ${this.x.length} rows, coloured by ${name}`);
      explorer.again();
    });
  }

  across(x) {
    return this.left + this.width / 2 + (x - data.map.centre[0]) * this.unit;
  }

  up(y) {
    return this.top + this.height / 2 - (y - data.map.centre[1]) * this.unit;
  }

  placeOf(item) {
    return [this.across(this.x[item]), this.up(this.y[item])];
  }

  // The item with the least cost, null where all are infinite.
  best(cost) {
    let [found, least] = [null, Infinity];
    for (let item = 0; item < this.x.length; item += 1) {
      const value = cost(...this.placeOf(item), item);
      if (value < least) [found, least] = [item, value];
    }
    return found;
  }

  at(x, y) {
    return this.best((px, py) => {
      const away = Math.hypot(px - x, py - y);
      return away < 20 ? away : Infinity;
    });
  }

  step(item, dx, dy) {
    const [x, y] = this.placeOf(item);
    return this.best((px, py, other) => {
      const along = (px - x) * dx + (py - y) * dy;
      const aside = Math.abs((px - x) * dy) + Math.abs((py - y) * dx);
      return other !== item && along > 0.01 && aside <= along ? along + aside : Infinity;
    });
  }

  show(item, kept, spoken) {
    this.draw(item, kept);
    const entries = ["mass", "suspicion"].map((name) => [name, `${digits(this[name].values[item])} × average`]);
    tell("plane", [data.map.rows[item]], entries, kept, spoken);
  }

  draw(item, kept) {
    const width = this.canvas.parentElement.clientWidth;
    const height = Math.round(Math.min(620, Math.max(260, 0.75 * width)));
    [this.width, this.height] = [width - this.left - 4, height - this.top - 42];
    this.unit = 0.94 * Math.min(this.width / data.map.extent[0], this.height / data.map.extent[1]);
    const pen = cleared(this.canvas, width, height);
    this.axes(pen);
    this.dots(pen);
    this.mark(pen, item, kept);
  }

  axes(pen) {
    pen.strokeStyle = css("--line");
    pen.lineWidth = 1;
    pen.strokeRect(this.left, this.top, this.width, this.height);
    pen.fillStyle = css("--quiet");
    const [[east, north], [bottom, middle]] = [data.map.ticks, [this.top + this.height, this.top + this.height / 2]];
    for (const tick of east) write(pen, digits(tick), this.across(tick), bottom + 11, "center", false);
    for (const tick of north) write(pen, digits(tick), this.left - 6, this.up(tick), "right", false);
    write(pen, data.map.axes[0], this.left + this.width / 2, bottom + 30, "center", false);
    write(pen, data.map.axes[1], 9, middle, "center", true);
  }

  // What stands out comes last, so that it lies on top.
  dots(pen) {
    const size = this.x.length > 1500 ? 2.4 : this.x.length > 400 ? 3 : 4;
    const looks = Array.from(this.x, (_, item) => [item, this.looks.look(item)]);
    looks.sort((one, other) => one[1].height - other[1].height);
    for (const [item, { colour, shape, faint }] of looks) {
      [pen.globalAlpha, pen.fillStyle] = [faint ? 0.12 : 0.8, colour];
      pen.beginPath();
      shape(pen, ...this.placeOf(item), size);
      pen.fill();
    }
    pen.globalAlpha = 1;
  }

  mark(pen, item, kept) {
    for (const [colour, width] of [[css("--paper"), 5], [css("--ink"), kept ? 3 : 2]]) {
      [pen.strokeStyle, pen.lineWidth] = [colour, width];
      pen.beginPath();
      pen.arc(...this.placeOf(item), 8, 0, 2 * Math.PI);
      pen.stroke();
    }
  }
}

new Plane();
