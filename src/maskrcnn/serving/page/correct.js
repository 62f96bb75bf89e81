// Correcting: tools that change the objects of an image, undo without limit, and saving that loses nothing.

import {ask, get, send} from "./api.js";
import {boxOf, difference, parts, stroke, union} from "./edit.js";
import {open} from "./images.js";
import {toRle} from "./rle.js";
import {Box, Brush, filled, Line, Pick, Polygon} from "./tools.js";
import {Train} from "./train.js";

const SAVE_AFTER = 700;  // milliseconds without a change
const LINE = 0.75;       // half the width of a cut, in pixels: enough that its sides do not touch
const TOOLS = [
  ["move", "Move", "V"], ["brush", "Brush", "B"], ["eraser", "Eraser", "E"], ["polygon", "Polygon", "G"], ["box", "Box", "R"],
  ["split", "Split", "X"], ["join", "Join", "J"],
];
const element = (id) => document.getElementById(id);

function make(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export class Correct {
  constructor(page) {
    this.page = page;
    this.project = null;
    this.keys = {};
    this.tool = "move";
    this.radius = 6;
    this.className = null;
  }

  get item() { return this.page.state.current; }

  get size() { return [this.item.height, this.item.width]; }

  async start() {
    if (!this.page.state.model.project) return;
    this.project = await get("/v1/project");
    this.author = localStorage.getItem("maskrcnn-author") ?? "";
    this.keys = {
      "V B E G R": "move, brush, eraser, polygon, box", "X J": "split with a line, join with another", ", .": "smaller, larger brush",
      "Del": "delete the object", "C": "next class", "Y": "accept the object", "Ctrl Z": "undo", "Ctrl Shift Z": "redo",
      "Enter": "close a polygon; else the image is right, go to the next",
    };
    this.page.state.model.classes = this.project.classes.map((name) => ({name}));
    this.className = this.project.classes[0];
    this.build();
    this.train = new Train({project: this, tell: this.page.tell, reload: () => this.reload()});
    this.list();
    this.nextImage();
  }

  // ── the project's images ──

  list() {
    const known = new Map(this.page.state.items.map((item) => [item.id, item])), why = new Map(this.project.next.map((one) => [one.id, one.why]));
    const videos = this.page.state.items.filter((item) => item.isVideo), images = this.project.images.map((row) => {
      const item = known.get(row.id) ?? {
        id: row.id, name: row.name, height: row.height, width: row.width, objects: null, undo: [], redo: [], load: () => this.load(row),
      };
      item.held_out = row.held_out;
      item.status = row.state === "corrected" ? "✓" : "";
      item.why = why.get(row.id);
      return item;
    });
    this.page.state.items = [...images, ...videos];
    const done = this.project.images.filter((image) => image.state === "corrected").length;
    this.progress.textContent = `${done} of ${this.project.images.length} images corrected`;
    const first = this.project.next[0];
    this.reason.textContent = first ? `Next: ${this.project.images.find((image) => image.id === first.id).name}, ${first.why}` : "";
    this.nextButton.disabled = !first;
    this.page.listImages();
    this.train?.show();
  }

  async refresh() {
    this.project = await get("/v1/project");
    this.list();
  }

  async load(row) {
    const [file] = await Promise.all([ask(`/v1/project/images/${row.id}/file`), this.read(row.id)]);
    return open(new File([await file.blob()], row.name));
  }

  async read(id) {
    const answer = await get(`/v1/project/images/${id}`), item = this.page.state.items.find((one) => one.id === id);
    item.version = answer.image.version;
    item.objects = answer.objects.map((object) => this.fromServer(object)).filter((object) => object.cutout);
    item.undo = [];
    item.redo = [];
    item.dirty = false;
  }

  fromServer(object) {
    const made = this.page.toObject({...object, box: [0, 0, 0, 0]});
    if (made.cutout) made.box = boxOf(made.cutout);
    return made;
  }

  async add(files) {
    for (const [number, file] of files.entries()) {
      this.page.tell(`Adding ${number + 1} of ${files.length}: ${file.name}`);
      try {
        const form = new FormData();
        form.append("file", file, file.name);
        await ask("/v1/project/images", {method: "POST", body: form});
      } catch (error) {
        this.page.tell(`${file.name}: ${error.message}`);
        continue;
      }
      await this.refresh();
      if (!this.item) this.nextImage();
    }
    this.page.tell("");
  }

  nextImage() {
    const id = this.project.next.find((one) => one.id !== this.item?.id)?.id ?? this.project.next[0]?.id ?? this.project.images[0]?.id;
    const next = this.page.state.items.find((item) => item.id === id);
    if (next) this.page.choose(next);
  }

  // ── changes ──

  /** Every change goes through here: the objects before it are remembered, those after it are saved. */
  change(objects, selected = null) {
    const item = this.item;
    if (!item?.objects) return;
    item.undo.push(item.objects);
    item.redo = [];
    this.put(objects, selected);
  }

  put(objects, selected = null) {
    this.item.objects = objects;
    this.item.dirty = true;
    this.page.refresh();
    this.page.viewer.select(selected);
    this.saveSoon(this.item);
  }

  undo(from = "undo", to = "redo") {
    const item = this.item;
    if (!item?.[from]?.length) return;
    item[to].push(item.objects);
    this.put(item[from].pop());
  }

  drawn(cutout, className = this.className) {
    return {class: className, score: null, source: "person", cutout, box: boxOf(cutout)};
  }

  replaced(object, ...by) {
    return this.item.objects.flatMap((one) => (one === object ? by : [one]));
  }

  withMask(object, cutout) {
    return {...object, cutout, box: boxOf(cutout), source: "person", score: null, painted: null};
  }

  paint(mask) {
    const object = this.page.viewer.selected;
    const next = object ? this.withMask(object, union(object.cutout, mask)) : this.drawn(mask);
    this.change(object ? this.replaced(object, next) : [...this.item.objects, next], next);
  }

  erase(mask) {
    const object = this.page.viewer.selected;
    if (!object) return this.page.tell("Choose an object first, then erase of it.");
    const left = difference(object.cutout, mask), next = left && this.withMask(object, left);
    return this.change(next ? this.replaced(object, next) : this.replaced(object), next);
  }

  async askForBox(box) {
    const item = this.item;
    let cutout = filled(box);
    if (this.project.can_segment) {
      try {
        const {detections: [found]} = await send("POST", `/v1/project/images/${item.id}/segment`, {boxes: [box]});
        cutout = this.fromServer(found).cutout ?? cutout;
      } catch (error) {
        this.page.tell(error.message);
      }
    }
    if (item !== this.item) return;
    const next = this.drawn(cutout);
    this.change([...item.objects, next], next);
  }

  split(points) {
    const object = this.page.viewer.selected;
    if (!object) return this.page.tell("Choose an object first, then draw a line across it.");
    const line = stroke(points, LINE, this.size), rest = line && difference(object.cutout, line), pieces = rest ? parts(rest) : [];
    if (pieces.length < 2) return this.page.tell("The line does not cut the object in two.");
    pieces[0] = union(pieces[0], difference(object.cutout, difference(object.cutout, line)));  // the line's own pixels stay too
    const made = pieces.map((piece) => this.withMask(object, piece));
    return this.change(this.replaced(object, ...made), made[0]);
  }

  join(other) {
    const object = this.page.viewer.selected;
    if (!object) return this.page.viewer.select(other);
    if (object === other) return null;
    const next = this.withMask(object, union(object.cutout, other.cutout));
    return this.change(this.replaced(object, next).filter((one) => one !== other), next);
  }

  remove() {
    const object = this.page.viewer.selected;
    if (object) this.change(this.replaced(object));
  }

  accept() {
    const object = this.page.viewer.selected;
    if (!object) return;
    const next = {...object, source: "person", painted: null};
    this.change(this.replaced(object, next), next);
  }

  setClass(name) {
    this.className = name;
    this.classSelect.value = name;
    const object = this.page.viewer.selected;
    if (!object || object.class === name) return;
    const next = {...object, class: name, source: "person", score: null, painted: null};
    this.change(this.replaced(object, next), next);
  }

  // ── saving ──

  saveSoon(item) {
    clearTimeout(item.timer);
    this.status.textContent = "Not saved yet";
    item.timer = setTimeout(() => this.save(item), SAVE_AFTER);
  }

  /** Saves what is shown: what a person decided, and the model's objects of enough score. Waits for a save that is on its way. */
  async save(item, state = item.status === "✓" ? "corrected" : "proposed") {
    clearTimeout(item.timer);
    while (item.saving) await item.saving;
    const kept = state === "corrected" ? item.objects.filter(this.page.isSure) : item.objects;
    const objects = kept.map((object) => ({
      class: object.class, score: object.score, source: object.source, mask: toRle(object.cutout, [item.height, item.width]),
    }));
    item.dirty = false;
    item.saving = send("PUT", `/v1/project/images/${item.id}`, {version: item.version, state, author: this.author, objects});
    try {
      item.version = (await item.saving).version;
      this.status.textContent = `Saved, version ${item.version}`;
      return true;
    } catch (error) {
      item.dirty = true;
      if (error.status === 409) this.conflict(item, error.message);
      else {
        this.status.textContent = "Not saved";
        this.page.tell(error.message);
        if (!error.status) item.timer = setTimeout(() => this.save(item, state), 5000);
      }
      return false;
    } finally {
      item.saving = null;
    }
  }

  conflict(item, text) {
    this.status.textContent = "Not saved: somebody else was faster";
    const dialog = make("dialog", {id: "conflict"}), mine = item.objects;
    const choose = (label, action) => {
      const button = make("button", {type: "button", textContent: label});
      button.addEventListener("click", async () => {
        dialog.close();
        dialog.remove();
        await action();
      });
      return button;
    };
    dialog.append(
      make("p", {textContent: text}), make("p", {className: "quiet", textContent: "Nothing is lost: each version stays in the project."}),
      make("div", {className: "row"},
        choose("Show theirs", async () => {
          await this.read(item.id);
          this.page.choose(item);
        }),
        choose("Save mine as the newest", async () => {
          await this.read(item.id);
          item.objects = mine;
          await this.page.choose(item);
          await this.save(item);
        })),
    );
    document.body.append(dialog);
    dialog.showModal();
  }

  /** The image is right as it is shown: saved as corrected, and on to the next. */
  async done() {
    const item = this.item;
    if (!item?.objects || !(await this.save(item, "corrected"))) return;
    await this.read(item.id);
    await this.refresh();
    this.nextImage();
  }

  // ── what is on the page ──

  build() {
    const bar = element("edit-tools");
    bar.hidden = false;
    this.buttons = new Map(TOOLS.map(([name, text, key]) => {
      const button = make("button", {type: "button", textContent: text, title: `${text} (${key})`, id: `tool-${name}`});
      button.addEventListener("click", () => this.use(name));
      return [name, button];
    }));
    this.classSelect = make("select", {id: "class", title: "Class of the object (C)", ariaLabel: "Class"});
    this.listClasses();
    this.classSelect.addEventListener("change", () => {
      this.setClass(this.classSelect.value);
      this.page.viewer.canvas.focus();
    });
    const size = make("input", {type: "range", id: "radius", min: 1, max: 60, value: this.radius, title: "Size of the brush (, .)", ariaLabel: "Size of the brush"});
    size.addEventListener("input", () => { this.radius = Number(size.value); });
    this.sizeInput = size;
    const actions = [
      ["accept", "Accept", () => this.accept()], ["delete", "Delete", () => this.remove()], ["undo", "Undo", () => this.undo()],
      ["redo", "Redo", () => this.undo("redo", "undo")],
    ].map(([id, text, action]) => {
      const button = make("button", {type: "button", id, textContent: text});
      button.addEventListener("click", action);
      return button;
    });
    bar.append(...this.buttons.values(), size, this.classSelect, ...actions);
    this.buildSection();
    this.use("move");
  }

  listClasses() {
    this.classSelect.replaceChildren(...this.project.classes.map((name) => make("option", {value: name, textContent: name})));
    this.classSelect.value = this.className;
  }

  buildSection() {
    const section = element("project-section");
    section.hidden = false;
    this.progress = make("p", {id: "progress"});
    this.reason = make("p", {className: "quiet", id: "reason"});
    this.status = make("p", {className: "quiet", id: "status", role: "status"});
    this.nextButton = make("button", {type: "button", id: "next", textContent: "Next"});
    this.nextButton.addEventListener("click", () => this.nextImage());
    const done = make("button", {type: "button", id: "done", textContent: "Image is right"});
    done.addEventListener("click", () => this.done());
    const exports = make("button", {type: "button", id: "export", textContent: "Export"});
    exports.addEventListener("click", () => this.download().catch((error) => this.page.tell(error.message)));
    this.format = make("select", {id: "format", ariaLabel: "Format of the export"});
    this.format.append(...this.project.formats.map((name) => make("option", {value: name, textContent: name})));
    const author = make("input", {type: "text", id: "author", value: this.author, autocomplete: "name", size: 12});
    author.addEventListener("change", () => {
      this.author = author.value;
      localStorage.setItem("maskrcnn-author", author.value);
    });
    const fresh = make("input", {type: "text", id: "new-class", size: 12});
    fresh.addEventListener("change", async () => {
      if (!fresh.value.trim()) return;
      await send("POST", "/v1/project/classes", {name: fresh.value.trim()});
      fresh.value = "";
      await this.refresh();
      this.page.state.model.classes = this.project.classes.map((name) => ({name}));
      this.listClasses();
      this.page.refresh();
    });
    section.append(
      make("h2", {textContent: "Correct"}), this.progress, make("div", {className: "row"}, done, this.nextButton), make("div", {className: "row"}, this.format, exports), this.reason, this.status,
      make("label", {}, "Your name ", author), make("label", {}, "New class ", fresh),
    );
    addEventListener("beforeunload", (event) => { if (this.page.state.items.some((item) => item.dirty)) event.preventDefault(); });
  }

  async download() {
    const answer = await ask(`/v1/project/export?format=${this.format.value}`);
    const name = /filename="(.+)"/.exec(answer.headers.get("Content-Disposition"))[1];
    const link = make("a", {href: URL.createObjectURL(await answer.blob()), download: name});
    link.click();
    URL.revokeObjectURL(link.href);
  }

  use(name) {
    this.tool = name;
    const {viewer} = this.page, size = () => this.size, radius = () => this.radius;
    viewer.tool = {
      move: () => null,
      brush: () => new Brush({radius, size, done: (mask) => this.paint(mask)}),
      eraser: () => new Brush({radius, size, done: (mask) => this.erase(mask)}),
      polygon: () => new Polygon({size, scale: () => viewer.scale, done: (mask) => this.paint(mask)}),
      box: () => new Box({size, done: (box) => this.askForBox(box)}),
      split: () => new Line({done: (points) => this.split(points)}),
      join: () => new Pick({at: (x, y) => viewer.at(x, y), done: (object) => this.join(object)}),
    }[name]();
    for (const [other, button] of this.buttons) button.setAttribute("aria-pressed", other === name);
    viewer.draw();
  }

  chosen() { this.status && (this.status.textContent = ""); }

  selected(object) {
    if (object && this.classSelect) this.classSelect.value = this.className = object.class;
  }

  async reload() {
    this.page.state.items = this.page.state.items.filter((item) => item.isVideo);
    await this.refresh();
  }

  key(event) {
    if (!this.project) return false;
    const key = event.key.toLowerCase(), polygonTool = this.tool === "polygon" ? this.page.viewer.tool : null;
    if (event.ctrlKey || event.metaKey) {
      if (key !== "z" && key !== "y") return false;
      if (key === "y" || event.shiftKey) this.undo("redo", "undo");
      else if (!polygonTool?.back()) this.undo();
      this.page.viewer.draw();
      return true;
    }
    const tool = TOOLS.find(([, , letter]) => letter.toLowerCase() === key);
    const classes = this.project.classes, resize = (factor) => {
      this.radius = Math.min(60, Math.max(1, Math.round(this.radius * factor + Math.sign(factor - 1))));
      this.sizeInput.value = this.radius;
      this.page.viewer.draw();
    };
    const actions = {
      delete: () => this.remove(), backspace: () => this.remove(), y: () => this.accept(), ",": () => resize(0.8), ".": () => resize(1.25),
      c: () => this.setClass(classes[(classes.indexOf(this.className) + 1) % classes.length]),
      enter: () => (polygonTool?.points.length ? polygonTool.close() : this.done()),
    };
    if (key === "enter" && event.target.matches("button, a, summary")) return false;
    const action = tool ? () => this.use(tool[0]) : actions[key];
    if (!action) return false;
    action();
    return true;
  }
}
