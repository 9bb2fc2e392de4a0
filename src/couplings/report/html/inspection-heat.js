// The coupling of a batch as a matrix of cells; cell i n + j is the pair of samples i and j.

const matrices = {
  push: { words: "push apart, times the average pair", unit: "push" },
  plan: { words: `mass of the plan “${data.batch.coupling}”, times the average pair`, unit: "mass" },
  similarity: { words: "cosine similarity", unit: "cosine similarity" },
};

class HeatMap {
  static widest = 84;
  static edge = 26;

  constructor() {
    [this.canvas, this.first, this.n] = [find("heat"), data.batch.first, data.batch.rows.length];
    [this.shown, this.left, this.side] = ["push", 0, 0];
    const each = (make) => Object.fromEntries(Object.keys(matrices).map((name) => [name, make(name)]));
    this.values = each((name) => floats(data.batch[name]));
    this.images = each((name) => this.painted(this.values[name], data.batch.scales[name]));
    const explorer = new Explorer(this.canvas, this);
    choosing("matrix", (name) => {
      this.shown = name;
      showScale(find("heat-scale"), matrices[name].words, data.batch.scales[name]);
      this.canvas.setAttribute("aria-label", `Coupling of a batch of ${this.n}: ${matrices[name].words}`);
      explorer.again();
    });
  }

  painted(values, scale) {
    const plain = make("canvas");
    plain.width = plain.height = this.n;
    const pen = plain.getContext("2d");
    const image = pen.createImageData(this.n, this.n);
    values.forEach((value, place) => {
      const colour = colourOn(scale, value);
      if (colour) image.data.set([...colour, 255], 4 * place);
    });
    pen.putImageData(image, 0, 0);
    return plain;
  }

  at(x, y) {
    const [column, row] = [(x - this.left) / this.side, y / this.side].map((share) => Math.floor(share * this.n));
    return Math.min(column, row) >= 0 && Math.max(column, row) < this.n ? row * this.n + column : null;
  }

  step(cell, dx, dy, far) {
    const inside = (place) => Math.min(this.n - 1, Math.max(0, place));
    const by = far ? 10 : 1;
    return inside(Math.floor(cell / this.n) + by * dy) * this.n + inside((cell % this.n) + by * dx);
  }

  show(cell, kept, spoken) {
    this.draw(cell, kept);
    const entries = Object.entries(matrices).map(([name, { unit }]) => {
      const value = digits(this.values[name][cell]);
      return [unit, data.batch.scales[name].logarithmic ? `${value} × average` : value];
    });
    const ends = new Set([Math.floor(cell / this.n), cell % this.n]);
    tell("heat", [...ends].map((place) => data.batch.rows[place]), entries, kept, spoken);
  }

  draw(cell, kept) {
    const width = this.canvas.parentElement.clientWidth;
    this.left = HeatMap.edge + this.margin();
    this.side = Math.max(40, width - this.left - 4);
    const pen = cleared(this.canvas, width, this.side + this.left);
    pen.fillStyle = css("--line");
    pen.fillRect(this.left, 0, this.side, this.side);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(this.images[this.shown], this.left, 0, this.side, this.side);
    this.borders(pen);
    this.axes(pen);
    this.cursor(pen, cell, kept);
  }

  // As wide as the widest name, up to a bound.
  margin() {
    const pen = this.canvas.getContext("2d");
    pen.font = font;
    const widths = data.batch.classes.map(({ label }) => Math.ceil(pen.measureText(label).width) + 6);
    return Math.min(HeatMap.widest, Math.max(0, ...widths));
  }

  borders(pen) {
    pen.strokeStyle = "rgb(255 255 255 / .75)";
    pen.lineWidth = 1;
    pen.beginPath();
    const edges = new Set(data.batch.classes.flatMap(({ start, end }) => [start, end]));
    for (const end of edges) {
      if (end === 0 || end === this.n) continue;
      const at = Math.round((end * this.side) / this.n) + 0.5;
      pen.moveTo(this.left + at, 0);
      pen.lineTo(this.left + at, this.side);
      pen.moveTo(this.left, at);
      pen.lineTo(this.left + this.side, at);
    }
    pen.stroke();
  }

  axes(pen) {
    pen.fillStyle = css("--ink");
    const cell = this.side / this.n;
    for (const { label, start, end } of data.batch.classes) {
      if (cell * (end - start) < 12) continue;
      const [name, middle] = [fitted(pen, label, HeatMap.widest - 6), (cell * (start + end)) / 2];
      write(pen, name, this.left - 6, middle, "right", false);
      write(pen, name, this.left + middle, this.side + 6, "right", true);
    }
    pen.fillStyle = css("--quiet");
    write(pen, "sample", 9, this.side / 2, "center", true);
    write(pen, "other sample", this.left + this.side / 2, this.side + this.left - 10, "center", false);
  }

  cursor(pen, cell, kept) {
    const size = this.side / this.n;
    const corner = [this.left + (cell % this.n) * size - 2, Math.floor(cell / this.n) * size - 2];
    for (const [colour, width] of [["#000000", kept ? 6 : 4], ["#ffffff", kept ? 3 : 1.5]]) {
      pen.strokeStyle = colour;
      pen.lineWidth = width;
      pen.strokeRect(...corner, size + 4, size + 4);
    }
  }
}

new HeatMap();
