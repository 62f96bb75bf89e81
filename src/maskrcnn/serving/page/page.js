// The page: images in, objects to look at. What is corrected, and trained on, is in correct.js and train.js.

import {ask, get} from "./api.js";
import {Correct} from "./correct.js";
import {open, windowed} from "./images.js";
import {toCutout} from "./rle.js";
import {isVideo, Player} from "./video.js";
import {colourOf, Viewer} from "./viewer.js";

const element = (id) => document.getElementById(id);
const viewer = new Viewer(element("canvas"));
const state = {model: null, items: [], current: null, score: 0.5, best: new Map(), byClass: false, hidden: new Set()};
const KEYS = {
  "O": "open images", "+ −": "larger, smaller", "0": "whole image", "1": "a pixel a pixel", "arrows": "move the image",
  "N P": "next, previous object", "] [": "next, previous image", "H": "masks off while held", "space < >": "play a video, previous and next frame", "Esc": "nothing selected",
};

export function tell(text) {
  const message = element("message");
  message.textContent = text;
  message.hidden = !text;
  clearTimeout(tell.timer);
  if (text) tell.timer = setTimeout(() => { message.hidden = true; }, 8000);
}

// ── images ──

function addFiles(files) {
  const fresh = [...files].filter((file) => file.size).map((file) => ({
    name: file.name, file, objects: null, isVideo: isVideo(file), status: isVideo(file) ? "" : "waits", load: isVideo(file) ? () => player.open(item(file)) : null,
  }));
  const item = (file) => fresh.find((one) => one.file === file);
  if (!fresh.length) return;
  if (correct.project && !fresh.some((one) => isVideo(one.file))) {
    correct.add(fresh.map((item) => item.file));
    return;
  }
  state.items.push(...fresh);
  listImages();
  choose(fresh[0]);
  work();
}

let working = false;
/** One image after the other; the one that is looked at first. */
async function work() {
  if (working) return;
  working = true;
  for (let item; (item = state.current?.status === "waits" ? state.current : state.items.find((one) => one.status === "waits"));) {
    item.status = "…";
    listImages();
    try {
      const query = new URLSearchParams({score: state.model.least_score, format: "rle"});
      const answer = await (await ask(`/v1/detect?${query}`, {method: "POST", body: item.file})).json();
      item.objects = answer.images[0].detections.map(toObject);
      item.status = "";
    } catch (error) {
      item.objects = [];
      item.status = "!";
      item.error = error.message;
    }
    listImages();
    if (item === state.current) refresh();
  }
  working = false;
}

export function toObject(found) {
  return {
    class: found.class, score: found.score ?? null, box: found.box, cutout: toCutout(found.mask), source: found.source ?? "model",
    id: found.id ?? null,
  };
}

async function choose(item) {
  state.current = item;
  listImages();
  tell("");
  try {
    if (!item.shown) item.shown = await (item.load ? item.load() : open(item.file));
  } catch (error) {
    item.error = error.message;
  }
  if (item !== state.current) return;
  element("empty").hidden = true;
  viewer.show(item.shown?.image ?? null, []);
  showWindow(item.shown?.values);
  player.chosen(item);
  correct.chosen(item);
  if (!player.item) refresh();
  work();
}

function showWindow(values) {
  element("window-section").hidden = !values;
  if (!values) return;
  element("low").value = values.low;
  element("high").value = values.high;
  element("window").textContent = `${values.low} to ${values.high}`;
}

function changeWindow() {
  const values = state.current?.shown?.values;
  if (!values) return;
  values.low = Math.min(Number(element("low").value), 65534);
  values.high = Math.max(Number(element("high").value), values.low + 1);
  element("window").textContent = `${values.low} to ${values.high}`;
  state.current.shown.image = windowed(values, values.low, values.high);
  viewer.show(state.current.shown.image, viewer.objects);
}

function listImages() {
  element("images").replaceChildren(...state.items.map((item) => {
    const button = row(item.name, item.status || (item.objects ? `${item.objects.length}` : ""), () => choose(item));
    button.title = item.error ?? item.why ?? item.name;
    button.setAttribute("aria-current", item === state.current);
    const entry = document.createElement("li");
    entry.append(button);
    return entry;
  }));
}

function row(name, value, action, colour = null) {
  const button = document.createElement("button"), label = document.createElement("span"), count = document.createElement("span");
  button.type = "button";
  label.className = "name";
  label.textContent = name;
  count.textContent = value;
  if (colour) {
    const swatch = document.createElement("i");
    swatch.className = "swatch";
    swatch.style.background = colour;
    button.append(swatch);
  }
  button.append(label, count);
  button.addEventListener("click", action);
  return button;
}

// ── objects ──

/** Whether a person made the object, or the model is sure enough of it: by the slider, or by the best score of its class. */
function isSure(object) {
  const least = state.byClass ? state.best.get(object.class) ?? state.score : state.score;
  return object.source === "person" || object.score === null || object.score >= least;
}

export function isShown(object) {
  return !state.hidden.has(object.class) && isSure(object);
}

/** Shows the objects of the current image by score and class; asks nobody. */
function refresh() {
  if (player.item) {
    showTracks();
    return;
  }
  const item = state.current, objects = item?.objects ?? [], names = state.model.classes.map((one) => one.name);
  if (item?.error) tell(item.error);
  objects.forEach((object, number) => {
    object.visible = isShown(object);
    object.colour = colourOf(names.length > 1 ? Math.max(names.indexOf(object.class), 0) : number);
    object.caption = `${object.class} ${object.source === "person" || object.score === null ? "✓" : object.score.toFixed(2)}`;
  });
  const size = (object) => (object.box[2] - object.box[0]) * (object.box[3] - object.box[1]);
  viewer.setObjects([...objects].sort((one, two) => size(two) - size(one)));  // small objects in front of large ones
  listObjects(objects.filter((object) => object.visible));
  listClasses(objects);
}

function showTracks() {
  const objects = player.item.objects ?? [];
  objects.forEach((object) => { object.visible = isShown(object); });
  viewer.draw();
  listImages();
  listObjects(objects.filter((object) => object.visible));
  listClasses(objects);
}

function listObjects(objects) {
  element("count").textContent = state.current?.objects ? objects.length : "";
  element("objects").replaceChildren(...objects.map((object) => {
    const value = object.source === "person" || object.score === null ? "✓" : object.score.toFixed(2);
    const button = row(player.item ? object.caption : object.class, value, () => {
      viewer.select(object);
      viewer.reveal(object);
    }, object.colour);
    button.setAttribute("aria-current", object === viewer.selected);
    button.addEventListener("pointerenter", () => viewer.hover(object));
    button.addEventListener("pointerleave", () => viewer.hover(null));
    const entry = document.createElement("li");
    entry.append(button);
    return entry;
  }));
}

function listClasses(objects) {
  const enough = objects.filter(isSure);
  element("classes").replaceChildren(...state.model.classes.map(({name}) => {
    const label = document.createElement("label"), box = document.createElement("input"), count = document.createElement("output");
    box.type = "checkbox";
    box.checked = !state.hidden.has(name);
    box.addEventListener("change", () => {
      state.hidden[box.checked ? "delete" : "add"](name);
      refresh();
    });
    count.textContent = enough.filter((object) => object.class === name).length;
    const text = document.createElement("span");
    text.textContent = name;
    label.append(box, text, count);
    const entry = document.createElement("li");
    entry.append(label);
    return entry;
  }));
}

function step(by) {
  const shown = state.current?.objects?.filter((object) => object.visible) ?? [];
  if (!shown.length) return;
  const next = shown[(shown.indexOf(viewer.selected) + by + (by < 0 && !viewer.selected ? 1 : 0) + shown.length) % shown.length];
  viewer.select(next);
  viewer.reveal(next);
}

function stepImage(by) {
  const next = state.items[state.items.indexOf(state.current) + by];
  if (next) choose(next);
}

// ── what a person does ──

function wire() {
  element("open").addEventListener("click", () => element("files").click());
  element("open-folder").addEventListener("click", () => element("folder").click());
  for (const id of ["files", "folder"]) {
    element(id).addEventListener("change", (event) => {
      addFiles(event.target.files);
      event.target.value = "";
    });
  }
  const stage = element("stage");
  addEventListener("dragover", (event) => {
    event.preventDefault();
    stage.classList.add("dropping");
  });
  addEventListener("dragleave", () => stage.classList.remove("dropping"));
  addEventListener("drop", async (event) => {
    event.preventDefault();
    stage.classList.remove("dropping");
    addFiles(await dropped(event.dataTransfer));
  });
  addEventListener("paste", (event) => addFiles(event.clipboardData?.files ?? []));
  element("score").addEventListener("input", (event) => {
    state.score = Number(event.target.value);
    state.byClass = element("by-class").checked = false;
    element("score-value").textContent = state.score.toFixed(2);
    refresh();
  });
  element("by-class").addEventListener("change", (event) => {
    state.byClass = event.target.checked;
    refresh();
  });
  for (const id of ["low", "high"]) element(id).addEventListener("input", changeWindow);
  const actions = {"zoom-in": () => viewer.zoomBy(1), "zoom-out": () => viewer.zoomBy(-1), fit: () => viewer.fit(), one: () => viewer.zoomTo(1 / devicePixelRatio)};
  for (const [id, action] of Object.entries(actions)) element(id).addEventListener("click", action);
  viewer.addEventListener("view", () => { element("zoom").textContent = `${Math.round(viewer.scale * devicePixelRatio * 100)} %`; });
  viewer.addEventListener("hover", () => { element("hint").textContent = viewer.hovered?.caption ?? ""; });
  viewer.addEventListener("select", () => {
    listObjects((state.current?.objects ?? []).filter((object) => object.visible));
    correct.selected(viewer.selected);
  });
  addEventListener("keydown", key);
  addEventListener("keyup", (event) => { if (event.key.toLowerCase() === "h") refresh(); });
  element("keys").replaceChildren(...Object.entries({...KEYS, ...correct.keys}).flatMap(([name, does]) => {
    const term = document.createElement("dt"), text = document.createElement("dd");
    term.textContent = name;
    text.textContent = does;
    return [term, text];
  }));
}

function key(event) {
  if (event.target.matches("input:not([type=range]):not([type=checkbox]), select, dialog *")) return;
  if (player.key(event) || correct.key(event)) {
    event.preventDefault();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const far = 60, actions = {
    "+": () => viewer.zoomBy(1), "=": () => viewer.zoomBy(1), "-": () => viewer.zoomBy(-1), "0": () => viewer.fit(),
    "1": () => viewer.zoomTo(1 / devicePixelRatio), o: () => element("files").click(), n: () => step(1), p: () => step(-1),
    "]": () => stepImage(1), "[": () => stepImage(-1), Escape: () => viewer.select(null),
    h: () => {
      viewer.objects.forEach((object) => { object.visible = false; });
      viewer.draw();
    },
  };
  if (document.activeElement === viewer.canvas) {
    Object.assign(actions, {
      ArrowLeft: () => viewer.pan(far, 0), ArrowRight: () => viewer.pan(-far, 0), ArrowUp: () => viewer.pan(0, far),
      ArrowDown: () => viewer.pan(0, -far),
    });
  }
  const action = actions[event.key] ?? actions[event.key.toLowerCase()];
  if (action) {
    event.preventDefault();
    action();
  }
}

/** The files that were dropped, those in folders too. */
async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return transfer.files;
  const files = [];
  const walk = async (entry) => {
    if (entry.isFile) files.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
    else {
      const reader = entry.createReader();
      for (let batch; (batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject))).length;) {
        for (const child of batch) await walk(child);
      }
    }
  };
  for (const entry of entries) await walk(entry);
  return files;
}

const player = new Player({
  viewer, tell, changed: () => (player.item ? showTracks() : listImages()), project: () => (correct.project ? correct.author : null),
});
const correct = new Correct({viewer, state, tell, refresh, listImages, choose, toObject, isSure});

async function start() {
  try {
    state.model = await get("/v1/model");
  } catch (error) {
    tell(error.message);
    return;
  }
  const names = state.model.classes.map((one) => one.name);
  element("model").textContent = `${state.model.name}: ${names.slice(0, 6).join(", ")}${names.length > 6 ? ` and ${names.length - 6} more` : ""}`;
  state.best = new Map(state.model.classes.filter((one) => one.best_score !== undefined).map((one) => [one.name, one.best_score]));
  state.byClass = element("by-class").checked = state.model.score === "auto";
  element("by-class-label").hidden = !state.best.size;
  if (!state.byClass) state.score = state.model.score;
  element("score").min = Math.floor(state.model.least_score * 100) / 100;
  element("score").value = state.score;
  element("score-value").textContent = state.score.toFixed(2);
  await correct.start();
  wire();
  listClasses([]);
  document.body.dataset.ready = "true";
}

start();
