// A video with its tracks: watched while the server follows its objects, and identities corrected. In a project they are kept.

import {ask, get, send} from "./api.js";
import {toCutout} from "./rle.js";
import {colourOf} from "./viewer.js";

const FORMATS = ["jsonl", "mot", "mots", "json", "csv", "ctc"];
const EARLY = 0.001;  // seconds by which a player may be before a frame's time

export const isVideo = (file) => file.type.startsWith("video/") || /\.(mp4|mov|mkv|webm|avi)$/i.test(file.name);

function make(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** Gives the objects from a frame's number on another identity; where that one is taken in a frame, the two change places. */
export function renamed(frames, from, id, other) {
  return frames.map((frame) => (frame.frame < from ? frame : {
    ...frame,
    objects: frame.objects.map((object) => ({...object, id: object.id === id ? other : object.id === other ? id : object.id})),
  }));
}

/** Frames as the server told them: a line of JSON each. */
function linesOf(frames) {
  return frames.map((frame) => JSON.stringify({
    ...frame, objects: frame.objects.map(({id, class: name, score, box, mask}) => ({id, class: name, score, box, mask})),
  })).join("\n");
}

export class Player {
  /** `project` gives the author where corrections are kept, else null. */
  constructor({viewer, tell, changed, project}) {
    Object.assign(this, {viewer, tell, changed, project, item: null, shown: null});
    this.play = make("button", {type: "button", id: "play", textContent: "Play", title: "Play or stop (space)"});
    this.play.addEventListener("click", () => this.toggle());
    this.seek = make("input", {type: "range", id: "seek", min: 0, max: 0, value: 0, step: 1, ariaLabel: "Frame"});
    this.seek.addEventListener("input", () => this.go(Number(this.seek.value)));
    this.place = make("output", {id: "place"});
    this.id = make("input", {type: "number", id: "identity", min: 1, max: 1e6, ariaLabel: "Identity", disabled: true});
    this.id.addEventListener("change", () => this.rename());
    this.save = make("button", {type: "button", id: "save-tracks", textContent: "Save tracks"});
    this.save.addEventListener("click", () => this.download().catch((error) => tell(error.message)));
    this.format = make("select", {id: "track-format", ariaLabel: "Format", hidden: true}, ...FORMATS.map((name) => new Option(name)));
    this.kept = make("output", {id: "kept"});
    this.bar = document.getElementById("player");
    this.bar.append(this.play, this.seek, this.place, make("label", {}, "Identity from here on ", this.id), this.format, this.save, this.kept);
    viewer.addEventListener("select", () => this.choosable());
  }

  /** A project keeps a correction only once it has the tracks. */
  choosable() {
    this.id.disabled = !this.viewer.selected || !this.item || (this.project() !== null && !this.item.kept);
    this.id.value = this.viewer.selected?.id ?? "";
    this.format.hidden = !this.item?.kept;
    this.kept.textContent = this.item?.kept ? `Saved, version ${this.item.kept.version}` : "";
  }

  async open(item) {
    const video = make("video", {muted: true, playsInline: true, preload: "auto", src: URL.createObjectURL(item.file)});
    await new Promise((resolve, reject) => {
      video.addEventListener("loadeddata", resolve, {once: true});
      video.addEventListener("error", () => reject(new Error(`${item.name}: this browser cannot play it.`)), {once: true});
    });
    video.width = video.videoWidth;
    video.height = video.videoHeight;
    video.addEventListener("ended", () => this.stopped());
    video.addEventListener("seeked", () => this.show());
    item.frames = [];
    item.video = video;
    this.follow(item);
    return {image: video, values: null};
  }

  /** Reads the server's lines as they come. */
  async follow(item) {
    try {
      const answer = await ask("/v1/track", {method: "POST", body: item.file});
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (let part; !(part = await reader.read()).done;) {
        const lines = (text + part.value).split("\n");
        text = lines.pop();
        for (const line of lines) this.add(item, JSON.parse(line));
      }
      item.status = "";
      if (this.project() !== null && item.frames.length) await this.keep(item);
    } catch (error) {
      item.status = "!";
      item.error = error.message;
      this.tell(error.message);
    }
    this.changed();
  }

  /** Gives the tracks to the project; of a video that is known there, what was corrected comes back. */
  async keep(item) {
    const body = `${linesOf(item.frames)}\n`, type = {"Content-Type": "application/x-ndjson"};
    item.original = item.frames;
    item.kept = await (await ask(`/v1/project/videos?${new URLSearchParams({name: item.name})}`, {method: "POST", body, headers: type})).json();
    this.apply(item);
  }

  /** The corrections of the project, on the tracks as the model told them. */
  apply(item, chosen = null) {
    item.frames = item.kept.changes.reduce((frames, {frame, identity, other}) => renamed(frames, frame, identity, other), item.original);
    if (item !== this.item) return;
    this.show(chosen);
    this.choosable();
  }

  add(item, line) {
    if (line.error) {
      this.tell(line.error);
      return;
    }
    item.frames.push(line);
    item.status = `${item.frames.length}…`;
    if (item !== this.item) return;
    this.seek.max = item.frames.length - 1;
    if (item.frames.length === 1) this.show();
    this.changed();
  }

  chosen(item) {
    this.item?.video?.pause();
    this.item = item?.video ? item : null;
    this.bar.hidden = !this.item;
    if (!this.item) return;
    this.seek.max = Math.max(this.item.frames.length - 1, 0);
    this.choosable();
    this.stopped();
    this.show();
  }

  toggle() {
    const {video} = this.item;
    if (!video.paused) {
      video.pause();
      this.stopped();
      return;
    }
    this.play.textContent = "Stop";
    video.play();
    const tick = () => {
      if (video.paused) return;
      this.show();
      requestAnimationFrame(tick);
    };
    tick();
  }

  stopped() { this.play.textContent = "Play"; }

  /** The number of the frame that the player shows. */
  get number() {
    const {frames, video} = this.item;
    let number = frames.findIndex((frame) => frame.time > video.currentTime + EARLY);
    if (number < 0) number = frames.length;
    return Math.max(number - 1, 0);
  }

  go(number) {
    const frame = this.item.frames[number], next = this.item.frames[number + 1];
    if (frame) this.item.video.currentTime = next ? (frame.time + next.time) / 2 : frame.time + EARLY;
  }

  step(by) { this.go(this.number + by); }

  show(chosen = null) {
    const frame = this.item?.frames[this.number];
    if (!frame) return;
    this.seek.value = this.number;
    this.place.textContent = `Frame ${frame.frame}, ${frame.time.toFixed(2)} s`;
    const kept = chosen ?? this.viewer.selected?.id;
    const objects = frame.objects.map((object) => Object.assign(object, {
      cutout: object.cutout ?? toCutout(object.mask), colour: colourOf(object.id), caption: `${object.class} ${object.id}`, visible: true,
    }));
    this.item.objects = objects;
    this.viewer.setObjects(objects);
    this.viewer.selected = objects.find((object) => object.id === kept) ?? null;
    this.viewer.draw();
    this.changed();
  }

  async rename() {
    const {item} = this, id = this.viewer.selected?.id, other = Number(this.id.value), {frame} = item.frames[this.number];
    if (!id || !(other >= 1) || id === other) return;
    if (item.kept) {
      const change = {frame, identity: id, other};
      try {
        const {version} = await send("POST", `/v1/project/videos/${item.kept.id}/identities`, {...change, version: item.kept.version, author: this.project()});
        item.kept = {...item.kept, version, changes: [...item.kept.changes, change]};
      } catch (error) {
        this.tell(error.status === 409 ? `${error.message} It is shown now; look, and correct again.` : error.message);
        if (error.status === 409) item.kept = await get(`/v1/project/videos/${item.kept.id}`);
      }
      this.apply(item, item.kept.changes.at(-1)?.other === other ? other : id);
      return;
    }
    item.frames = renamed(item.frames, frame, id, other);
    this.show(other);
  }

  async download() {
    const {item} = this, form = this.format.value;
    const content = item.kept
      ? await (await ask(`/v1/project/videos/${item.kept.id}/tracks?format=${form}`)).blob()
      : new Blob([`${linesOf(item.frames)}\n`], {type: "application/x-ndjson"});
    const suffix = item.kept && form !== "jsonl" ? `${form}.zip` : "tracks.jsonl";
    const link = make("a", {href: URL.createObjectURL(content), download: `${item.name}.${suffix}`});
    link.click();
    URL.revokeObjectURL(link.href);
  }

  key(event) {
    if (!this.item || event.ctrlKey || event.metaKey) return false;
    const actions = {" ": () => this.toggle(), "<": () => this.step(-1), ">": () => this.step(1)};
    if (!actions[event.key] || event.target.matches("button")) return false;
    actions[event.key]();
    return true;
  }
}
