// A video with its tracks: watched while the server follows its objects, and identities corrected.

import {ask} from "./api.js";
import {toCutout} from "./rle.js";
import {colourOf} from "./viewer.js";

const EARLY = 0.001;  // seconds by which a player may be before a frame's time

export const isVideo = (file) => file.type.startsWith("video/") || /\.(mp4|mov|mkv|webm|avi)$/i.test(file.name);

function make(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** Gives the objects from a frame on another identity; where that one is taken in a frame, the two change places. */
export function renamed(frames, from, id, other) {
  return frames.map((frame, number) => (number < from ? frame : {
    ...frame,
    objects: frame.objects.map((object) => ({...object, id: object.id === id ? other : object.id === other ? id : object.id})),
  }));
}

export class Player {
  constructor({viewer, tell, changed}) {
    Object.assign(this, {viewer, tell, changed, item: null, shown: null});
    this.play = make("button", {type: "button", id: "play", textContent: "Play", title: "Play or stop (space)"});
    this.play.addEventListener("click", () => this.toggle());
    this.seek = make("input", {type: "range", id: "seek", min: 0, max: 0, value: 0, step: 1, ariaLabel: "Frame"});
    this.seek.addEventListener("input", () => this.go(Number(this.seek.value)));
    this.place = make("output", {id: "place"});
    this.id = make("input", {type: "number", id: "identity", min: 1, max: 1e6, ariaLabel: "Identity", disabled: true});
    this.id.addEventListener("change", () => this.rename());
    this.save = make("button", {type: "button", id: "save-tracks", textContent: "Save tracks"});
    this.save.addEventListener("click", () => this.download());
    this.bar = document.getElementById("player");
    this.bar.append(this.play, this.seek, this.place, make("label", {}, "Identity from here on ", this.id), this.save);
    viewer.addEventListener("select", () => {
      this.id.disabled = !viewer.selected || !this.item;
      this.id.value = viewer.selected?.id ?? "";
    });
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
    } catch (error) {
      item.status = "!";
      item.error = error.message;
      this.tell(error.message);
    }
    this.changed();
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

  show() {
    const frame = this.item?.frames[this.number];
    if (!frame) return;
    this.seek.value = this.number;
    this.place.textContent = `Frame ${frame.frame}, ${frame.time.toFixed(2)} s`;
    const kept = this.viewer.selected?.id;
    const objects = frame.objects.map((object) => Object.assign(object, {
      cutout: object.cutout ?? toCutout(object.mask), colour: colourOf(object.id), caption: `${object.class} ${object.id}`, visible: true,
    }));
    this.item.objects = objects;
    this.viewer.setObjects(objects);
    this.viewer.selected = objects.find((object) => object.id === kept) ?? null;
    this.viewer.draw();
    this.changed();
  }

  rename() {
    const id = this.viewer.selected?.id, other = Number(this.id.value);
    if (!id || !(other >= 1)) return;
    this.item.frames = renamed(this.item.frames, this.number, id, other);
    this.viewer.selected = this.item.frames[this.number].objects.find((object) => object.id === other);
    this.show();
  }

  download() {
    const lines = this.item.frames.map((frame) => JSON.stringify({
      ...frame,
      objects: frame.objects.map(({id, class: name, score, box, mask}) => ({id, class: name, score, box, mask})),
    }));
    const link = make("a", {
      href: URL.createObjectURL(new Blob([`${lines.join("\n")}\n`], {type: "application/x-ndjson"})), download: `${this.item.name}.tracks.jsonl`,
    });
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
