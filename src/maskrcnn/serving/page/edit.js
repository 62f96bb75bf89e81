// What a person does to a mask: pure functions from cutouts to cutouts.

import {cut, trimmed} from "./rle.js";

const around = (one, two) => {
  const left = Math.min(one.left, two.left), top = Math.min(one.top, two.top);
  return [left, top, Math.max(one.left + one.width, two.left + two.width) - left, Math.max(one.top + one.height, two.top + two.height) - top];
};

/** Both masks as one. */
export function union(one, two) {
  const whole = cut(one, ...around(one, two));
  for (let y = 0; y < two.height; y++) {
    const start = (y + two.top - whole.top) * whole.width + two.left - whole.left;
    for (let x = 0; x < two.width; x++) whole.bits[start + x] |= two.bits[y * two.width + x];
  }
  return whole;
}

/** What of the first mask is not in the second; null where nothing is. */
export function difference(one, two) {
  const left = cut(one, one.left, one.top, one.width, one.height), other = cut(two, one.left, one.top, one.width, one.height);
  for (let k = 0; k < left.bits.length; k++) if (other.bits[k]) left.bits[k] = 0;
  return trimmed(left);
}

/** A line of round brush strokes as a mask, cut to the image; null where it lies outside. */
export function stroke(points, radius, [height, width]) {
  const xs = points.map((point) => point[0]), ys = points.map((point) => point[1]);
  const left = Math.max(0, Math.floor(Math.min(...xs) - radius)), top = Math.max(0, Math.floor(Math.min(...ys) - radius));
  const right = Math.min(width, Math.ceil(Math.max(...xs) + radius)), bottom = Math.min(height, Math.ceil(Math.max(...ys) + radius));
  if (right <= left || bottom <= top) return null;
  const mask = {left, top, width: right - left, height: bottom - top, bits: new Uint8Array((right - left) * (bottom - top))};
  points.forEach((point, number) => segment(mask, points[Math.max(number - 1, 0)], point, radius));
  return trimmed(mask);
}

/** The pixels whose centre lies within a radius of the line from one point to the next. */
function segment(mask, [x0, y0], [x1, y1], radius) {
  const dx = x1 - x0, dy = y1 - y0, length = dx * dx + dy * dy;
  const first = Math.max(0, Math.floor(Math.min(y0, y1) - radius - mask.top));
  const last = Math.min(mask.height - 1, Math.ceil(Math.max(y0, y1) + radius - mask.top));
  const start = Math.max(0, Math.floor(Math.min(x0, x1) - radius - mask.left));
  const end = Math.min(mask.width - 1, Math.ceil(Math.max(x0, x1) + radius - mask.left));
  for (let row = first; row <= last; row++) {
    for (let column = start; column <= end; column++) {
      const x = column + mask.left + 0.5 - x0, y = row + mask.top + 0.5 - y0;
      const along = length ? Math.min(1, Math.max(0, (x * dx + y * dy) / length)) : 0;
      if ((x - along * dx) ** 2 + (y - along * dy) ** 2 <= radius * radius) mask.bits[row * mask.width + column] = 1;
    }
  }
}

/** The pixels whose centre lies in a polygon, by crossings; null where there is none. */
export function polygon(points, [height, width]) {
  const xs = points.map((point) => point[0]), ys = points.map((point) => point[1]);
  const left = Math.max(0, Math.floor(Math.min(...xs))), top = Math.max(0, Math.floor(Math.min(...ys)));
  const right = Math.min(width, Math.ceil(Math.max(...xs))), bottom = Math.min(height, Math.ceil(Math.max(...ys)));
  if (right <= left || bottom <= top) return null;
  const mask = {left, top, width: right - left, height: bottom - top, bits: new Uint8Array((right - left) * (bottom - top))};
  for (let row = 0; row < mask.height; row++) {
    const y = row + top + 0.5, crossings = [];
    points.forEach(([x0, y0], number) => {
      const [x1, y1] = points[(number + 1) % points.length];
      if ((y0 <= y) !== (y1 <= y)) crossings.push(x0 + (y - y0) * (x1 - x0) / (y1 - y0));
    });
    crossings.sort((one, two) => one - two);
    for (let k = 0; k + 1 < crossings.length; k += 2) {
      const start = Math.max(0, Math.ceil(crossings[k] - left - 0.5)), end = Math.min(mask.width, Math.ceil(crossings[k + 1] - left - 0.5));
      for (let column = start; column < end; column++) mask.bits[row * mask.width + column] = 1;
    }
  }
  return trimmed(mask);
}

/** The connected parts of a mask, the largest first; pixels touch at their sides. */
export function parts(cutout) {
  const {width, height, bits} = cutout, seen = new Uint8Array(bits.length), found = [];
  for (let start = 0; start < bits.length; start++) {
    if (!bits[start] || seen[start]) continue;
    const part = {...cutout, bits: new Uint8Array(bits.length)}, waiting = [start];
    let size = 0;
    seen[start] = 1;
    while (waiting.length) {
      const place = waiting.pop(), x = place % width;
      part.bits[place] = 1;
      size++;
      for (const [next, inside] of [[place - 1, x > 0], [place + 1, x < width - 1], [place - width, place >= width], [place + width, place < width * (height - 1)]]) {
        if (inside && bits[next] && !seen[next]) {
          seen[next] = 1;
          waiting.push(next);
        }
      }
    }
    found.push({size, mask: trimmed(part)});
  }
  return found.sort((one, two) => two.size - one.size).map(({mask}) => mask);
}

export const boxOf = ({left, top, width, height}) => [left, top, left + width, top + height];
