// The tools of correction: each takes the pointer and, in the end, tells what was drawn.

import {cut} from "./rle.js";
import {polygon, stroke} from "./edit.js";

/** Dashed lines in pixels of the image, whatever the zoom. */
function outlined(context, scale, points, closed = false) {
  context.lineWidth = 1.5 / scale;
  for (const [colour, offset] of [["#000", 0], ["#fff", 5]]) {
    context.strokeStyle = colour;
    context.setLineDash([5 / scale, 5 / scale]);
    context.lineDashOffset = offset / scale;
    context.beginPath();
    points.forEach(([x, y], number) => (number ? context.lineTo(x, y) : context.moveTo(x, y)));
    if (closed) context.closePath();
    context.stroke();
  }
  context.setLineDash([]);
}

/** Paints with a round brush; `done(mask)` when the pointer is up. */
export class Brush {
  constructor({radius, size, done}) {
    Object.assign(this, {radius, size, done, points: [], place: null});
  }

  down(x, y) { this.points = [[x, y]]; }

  hover(x, y) { this.place = [x, y]; }

  move(x, y) {
    this.place = [x, y];
    this.points.push([x, y]);
  }

  up() {
    const mask = stroke(this.points, this.radius(), this.size());
    this.points = [];
    if (mask) this.done(mask);
  }

  paint(context, scale) {
    if (this.points.length) {
      context.strokeStyle = "#fff8";
      context.lineWidth = 2 * this.radius();
      context.lineCap = context.lineJoin = "round";
      context.beginPath();
      this.points.forEach(([x, y], number) => (number ? context.lineTo(x, y) : context.moveTo(x, y)));
      context.lineTo(...this.points.at(-1));
      context.stroke();
    }
    if (this.place) {
      const ring = Array.from({length: 32}, (_, k) => [
        this.place[0] + this.radius() * Math.cos(k * Math.PI / 16), this.place[1] + this.radius() * Math.sin(k * Math.PI / 16),
      ]);
      outlined(context, scale, ring, true);
    }
  }
}

/** A line across an object; `done(points)` when the pointer is up. */
export class Line {
  constructor({done}) {
    Object.assign(this, {done, points: []});
  }

  down(x, y) { this.points = [[x, y]]; }

  move(x, y) { this.points.push([x, y]); }

  up() {
    const points = this.points;
    this.points = [];
    if (points.length > 1) this.done(points);
  }

  paint(context, scale) { if (this.points.length) outlined(context, scale, this.points); }
}

/** A box; `done([left, top, right, bottom])` when the pointer is up. */
export class Box {
  constructor({size, done}) {
    Object.assign(this, {size, done, from: null, to: null});
  }

  down(x, y) { this.from = this.to = [x, y]; }

  move(x, y) { this.to = [x, y]; }

  up() {
    const [height, width] = this.size(), box = this.box();
    this.from = null;
    const inside = [Math.max(0, box[0]), Math.max(0, box[1]), Math.min(width, box[2]), Math.min(height, box[3])];
    if (inside[2] - inside[0] >= 2 && inside[3] - inside[1] >= 2) this.done(inside);
  }

  box() {
    const [x0, y0] = this.from, [x1, y1] = this.to;
    return [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)];
  }

  paint(context, scale) {
    if (!this.from) return;
    const [left, top, right, bottom] = this.box();
    outlined(context, scale, [[left, top], [right, top], [right, bottom], [left, bottom]], true);
  }
}

/** Points of a polygon, one a click; a click on the first, or Enter, closes it: `done(mask)`. */
export class Polygon {
  constructor({size, scale, done}) {
    Object.assign(this, {size, scale, done, points: [], place: null});
  }

  down(x, y) {
    const [first] = this.points;
    if (this.points.length > 2 && Math.hypot(x - first[0], y - first[1]) * this.scale() < 10) this.close();
    else this.points.push([x, y]);
  }

  hover(x, y) { this.place = [x, y]; }

  move(x, y) { this.place = [x, y]; }

  up() {}

  back() { return this.points.pop() !== undefined; }

  close() {
    const mask = this.points.length > 2 ? polygon(this.points, this.size()) : null;
    this.points = [];
    if (mask) this.done(mask);
  }

  paint(context, scale) {
    if (!this.points.length) return;
    outlined(context, scale, this.place ? [...this.points, this.place] : this.points);
    context.fillStyle = "#fff";
    for (const [x, y] of this.points) context.fillRect(x - 2.5 / scale, y - 2.5 / scale, 5 / scale, 5 / scale);
  }
}

/** A click on a second object; `done(object)`. */
export class Pick {
  constructor({at, done}) {
    Object.assign(this, {at, done});
  }

  down(x, y) { this.target = this.at(x, y); }

  move() {}

  up() { if (this.target) this.done(this.target); }
}

/** A box as a mask, where no model can be asked. */
export function filled([left, top, right, bottom]) {
  const place = [Math.floor(left), Math.floor(top)], width = Math.ceil(right) - place[0], height = Math.ceil(bottom) - place[1];
  return cut({left: place[0], top: place[1], width, height, bits: new Uint8Array(width * height).fill(1)}, ...place, width, height);
}
