const data = JSON.parse(document.getElementById("data").textContent);
const find = (id) => document.getElementById(id);

// Words and elements: what comes from data is only ever text.

function make(tag, kind, ...inside) {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  made.append(...inside);
  return made;
}

function digits(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  return size !== 0 && size < 1e-3 ? value.toExponential(1) : String(Number(value.toPrecision(3)));
}

const percent = (share) => (share === null ? "–" : `${digits(100 * share)} %`);
const nameOf = (row) => data.samples[row].id ?? `row ${data.samples[row].row}`;

function labelOf(row) {
  const { label } = data.samples[row];
  return label === undefined ? null : label < 0 ? "no label" : data.classes[label];
}

function told(row) {
  const label = labelOf(row);
  return label === null ? nameOf(row) : `${nameOf(row)}, ${label}`;
}

function datum(kind, text) {
  const made = make("bdi", `datum ${kind}`);
  made.textContent = text;
  return made;
}

function picture(row) {
  const image = make("img");
  image.loading = "lazy";
  image.decoding = "async";
  image.alt = `Picture of ${told(row)}`;
  image.addEventListener("load", () => image.classList.toggle("coarse", image.naturalWidth <= 48));
  image.src = data.samples[row].image;
  return image;
}

function sample(row) {
  const known = data.samples[row];
  const box = make("div", "sample");
  if (known.image) box.append(picture(row));
  if (known.text !== undefined) {
    const text = make("p", "text");
    text.dir = "auto";
    text.textContent = known.text;
    box.append(text);
  }
  box.append(make("div", "", datum("name", nameOf(row))));
  if (known.id !== undefined && known.id !== String(known.row)) box.append(make("div", "quiet", `row ${known.row}`));
  if (labelOf(row) !== null) box.append(make("div", "", datum("", labelOf(row))));
  return box;
}

function samples(...rows) {
  return make("div", rows.length === 1 ? "samples one" : "samples", ...rows.map(sample));
}

function numbers(entries) {
  const list = make("dl", "numbers");
  for (const [name, value] of entries) list.append(make("dt", "", name), make("dd", "", value));
  return list;
}

// Cards.

function pairCard(one) {
  const cost = one.cost === null ? [["cost of masking", "no mask taken"]]
    : [["cost of masking", digits(one.cost)], ["of the loss", percent(one.relative)]];
  const entries = [["similarity", digits(one.similarity)], ["push", `${digits(one.push)} ×`], ...cost];
  return make("li", "", make("p", "kind", one.kind), samples(...one.pair), numbers(entries));
}

function searched(one) {
  return one.pair.map((row) => `${told(row)} ${data.samples[row].row} ${data.samples[row].text ?? ""}`).join(" ").toLowerCase();
}

function gallery() {
  const cards = data.gallery.map((one, place) => ({
    ...one,
    place,
    size: one.cost === null ? 0 : Math.abs(one.cost),
    words: searched(one),
    card: pairCard(one),
  }));
  const form = find("filters");
  const orders = { push: (one) => -one.push, similarity: (one) => -one.similarity, cost: (one) => -one.size };

  function choose() {
    const chosen = new FormData(form);
    const [kinds, words] = [chosen.getAll("kind"), chosen.get("words").trim().toLowerCase()];
    const relation = chosen.get("relation") ?? "";
    const wanted = (one) => kinds.includes(one.kind) && one.words.includes(words)
      && ["", one.relation].includes(relation);
    const key = orders[chosen.get("order")] ?? ((one) => one.place);
    cards.forEach((one) => { one.card.hidden = !wanted(one); });
    find("pairs").append(...[...cards].sort((one, other) => key(one) - key(other)).map((one) => one.card));
    find("shown").textContent = `${cards.filter((one) => !one.card.hidden).length} of ${cards.length} shown`;
  }

  form.addEventListener("input", choose);
  form.addEventListener("submit", (event) => event.preventDefault());
  choose();
}

function rowCards(list, rows, entries) {
  list?.append(...rows.map((one) => make("li", "", samples(one.row), numbers(entries(one)))));
}

gallery();
rowCards(find("failing-rows"), data.failing, (one) => [
  ["others nearer", percent(one.rank)], ["similarity", digits(one.similarity)],
]);
rowCards(find("hub-rows"), data.hubs, (one) => [["mass", `${digits(one.mass)} ×`]]);
