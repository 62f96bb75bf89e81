// Shows an image with its objects on a canvas: zoom, pan, and which object lies under the pointer.

import {contains} from "./rle.js";

const LEAST_SCALE = 0.02, MOST_SCALE = 40, STEP = 1.25;

/** An object's own bright colour: hues step by the golden ratio, so that neighbours differ. */
export function colourOf(key) {
  const hue = Math.round(((0.58 + 0.618034 * key) % 1) * 360);
  return `hsl(${hue} ${[75, 60, 90][Math.floor(key / 8) % 3]}% ${[60, 68, 52][Math.floor(key / 8) % 3]}%)`;
}

/** The mask as a small canvas: tinted inside, opaque at its rim. */
function painted(cutout, colour) {
  const {width, height, bits} = cutout, canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d");
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  const [red, green, blue] = context.getImageData(0, 0, 1, 1).data, pixels = context.createImageData(width, height);
  const is = (x, y) => x >= 0 && y >= 0 && x < width && y < height && bits[y * width + x];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!bits[y * width + x]) continue;
      const inside = is(x - 1, y) && is(x + 1, y) && is(x, y - 1) && is(x, y + 1);
      pixels.data.set([red, green, blue, inside ? 100 : 255], 4 * (y * width + x));
    }
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

export class Viewer extends EventTarget {
  constructor(canvas) {
    super();
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.image = null;         // ImageBitmap or canvas
    this.objects = [];         // {cutout, colour, box, visible, …}, the ones in front last
    this.hovered = this.selected = null;
    this.scale = 1;            // screen pixels a pixel of the image
    this.x = this.y = 0;       // of the image's corner, in screen pixels
    this.tool = null;          // takes pointers from panning: {down, move, up, paint}
    this.pointers = new Map();
    new ResizeObserver(() => this.resize()).observe(canvas);
    canvas.addEventListener("wheel", (event) => this.wheel(event), {passive: false});
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.up(event));
    canvas.addEventListener("pointerleave", () => this.hover(null));
  }

  show(image, objects) {
    const same = this.image && image && image.width === this.image.width && image.height === this.image.height;
    this.image = image;
    this.setObjects(objects);
    if (!same) this.fit();
  }

  setObjects(objects) {
    this.objects = objects;
    if (!objects.includes(this.selected)) this.selected = null;
    this.hovered = null;
    this.draw();
  }

  resize() {
    const {clientWidth, clientHeight} = this.canvas, ratio = devicePixelRatio;
    const untouched = this.fitted;
    this.canvas.width = Math.round(clientWidth * ratio);
    this.canvas.height = Math.round(clientHeight * ratio);
    if (untouched) this.fit();
    this.draw();
  }

  fit() {
    if (!this.image) return;
    const {clientWidth: width, clientHeight: height} = this.canvas;
    this.scale = Math.min(width / this.image.width, height / this.image.height, 8) * 0.98;
    this.x = (width - this.image.width * this.scale) / 2;
    this.y = (height - this.image.height * this.scale) / 2;
    this.changed();
    this.fitted = true;
  }

  zoomTo(scale, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const next = Math.min(MOST_SCALE, Math.max(LEAST_SCALE, scale));
    this.x = x - (x - this.x) * next / this.scale;
    this.y = y - (y - this.y) * next / this.scale;
    this.scale = next;
    this.changed();
  }

  zoomBy(steps) { this.zoomTo(this.scale * STEP ** steps); }

  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.changed();
  }

  /** Moves an object into the middle where it is out of sight. */
  reveal(object) {
    const [left, top, right, bottom] = object.box, {clientWidth, clientHeight} = this.canvas;
    const x = (left + right) / 2 * this.scale + this.x, y = (top + bottom) / 2 * this.scale + this.y;
    if (x < 0 || y < 0 || x > clientWidth || y > clientHeight) this.pan(clientWidth / 2 - x, clientHeight / 2 - y);
  }

  changed() {
    this.fitted = false;
    this.dispatchEvent(new Event("view"));
    this.draw();
  }

  toImage(event) {
    const frame = this.canvas.getBoundingClientRect();
    return [(event.clientX - frame.left - this.x) / this.scale, (event.clientY - frame.top - this.y) / this.scale];
  }

  at(x, y) {
    for (let k = this.objects.length - 1; k >= 0; k--) {
      const object = this.objects[k];
      if (object.visible && object.cutout && contains(object.cutout, x, y)) return object;
    }
    return null;
  }

  hover(object) {
    if (object === this.hovered) return;
    this.hovered = object;
    this.dispatchEvent(new Event("hover"));
    this.draw();
  }

  select(object) {
    this.selected = object;
    this.dispatchEvent(new Event("select"));
    this.draw();
  }

  wheel(event) {
    event.preventDefault();
    const frame = this.canvas.getBoundingClientRect();
    const lines = event.deltaMode === 1 ? event.deltaY * 16 : event.deltaY;
    this.zoomTo(this.scale * Math.exp(-lines / 400), event.clientX - frame.left, event.clientY - frame.top);
  }

  down(event) {
    this.canvas.focus({preventScroll: true});
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, event);
    this.began = [event.clientX, event.clientY];
    this.usesTool = this.tool && event.button === 0 && this.pointers.size === 1;
    if (this.usesTool) this.tool.down(...this.toImage(event), event);
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      this.hover(this.at(...this.toImage(event)));
      if (this.tool?.hover) this.tool.hover(...this.toImage(event));
      return;
    }
    if (this.usesTool) {
      for (const part of event.getCoalescedEvents?.() ?? [event]) this.tool.move(...this.toImage(part), event);
      this.tool.move(...this.toImage(event), event);
      this.draw();
    } else if (this.pointers.size === 2) this.pinch(event, before);
    else this.pan(event.clientX - before.clientX, event.clientY - before.clientY);
    this.pointers.set(event.pointerId, event);
  }

  pinch(event, before) {
    const still = [...this.pointers.values()].find((pointer) => pointer.pointerId !== event.pointerId);
    const distance = (pointer) => Math.hypot(pointer.clientX - still.clientX, pointer.clientY - still.clientY);
    const frame = this.canvas.getBoundingClientRect();
    const x = (event.clientX + still.clientX) / 2 - frame.left, y = (event.clientY + still.clientY) / 2 - frame.top;
    this.pan((event.clientX - before.clientX) / 2, (event.clientY - before.clientY) / 2);
    this.zoomTo(this.scale * distance(event) / Math.max(distance(before), 1), x, y);
  }

  up(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    const moved = Math.hypot(event.clientX - this.began[0], event.clientY - this.began[1]);
    if (this.usesTool) {
      this.tool.up(...this.toImage(event), event);
      this.usesTool = false;
    } else if (moved < 4 && event.type === "pointerup") this.select(this.at(...this.toImage(event)));
  }

  draw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.paint();
    });
  }

  paint() {
    const {context, scale} = this, ratio = devicePixelRatio;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (!this.image) return;
    context.setTransform(scale * ratio, 0, 0, scale * ratio, this.x * ratio, this.y * ratio);
    context.imageSmoothingEnabled = scale * ratio < 2;
    context.drawImage(this.image, 0, 0);
    context.imageSmoothingEnabled = scale < 1;
    for (const object of this.objects) {
      if (!object.visible || !object.cutout) continue;
      if (object.painted?.of !== object.cutout || object.painted.colour !== object.colour) {
        object.painted = {of: object.cutout, colour: object.colour, canvas: painted(object.cutout, object.colour)};
      }
      context.globalAlpha = this.hovered && object !== this.hovered && object !== this.selected ? 0.45 : 1;
      context.drawImage(object.painted.canvas, object.cutout.left, object.cutout.top);
    }
    context.globalAlpha = 1;
    for (const object of [this.hovered, this.selected]) if (object?.visible) this.frame(object);
    if (this.tool?.paint) this.tool.paint(context, scale);
  }

  frame(object) {
    const {context, scale} = this, [left, top, right, bottom] = object.box;
    for (const [colour, width] of [["#000", 4], [object === this.selected ? "#fff" : object.colour, 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = width / scale;
      context.strokeRect(left, top, right - left, bottom - top);
    }
    const text = object.caption, size = 13 / scale;
    context.font = `600 ${size}px system-ui, sans-serif`;
    const width = context.measureText(text).width + size * 0.8, y = top < size * 1.5 ? bottom : top - size * 1.5;
    context.fillStyle = "#000c";
    context.fillRect(left, y, width, size * 1.5);
    context.fillStyle = "#fff";
    context.fillText(text, left + size * 0.4, y + size * 1.1);
  }
}
