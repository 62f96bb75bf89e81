// Masks as COCO's compressed run lengths, and as cutouts: the pixels of a mask's own box.
//
// A cutout is {left, top, width, height, bits}; bits is a Uint8Array, row by row, 1 where the mask is.

/** The lengths of the runs, background first. Five bits a character, low ones first; from the third on, differences. */
export function decodeCounts(text) {
  const counts = [];
  let value = 0, shift = 1;
  for (let place = 0; place < text.length; place++) {
    const bits = text.charCodeAt(place) - 48;
    value += (bits & 31) * shift;  // not <<: runs of large images have more than 31 bits on their way
    shift *= 32;
    if (!(bits & 32)) {
      if (bits & 16) value -= shift;
      counts.push(counts.length > 2 ? value + counts[counts.length - 2] : value);
      value = 0;
      shift = 1;
    }
  }
  return counts;
}

export function encodeCounts(counts) {
  let text = "";
  counts.forEach((count, number) => {
    let value = number > 2 ? count - counts[number - 2] : count;
    for (let more = true; more;) {
      const bits = ((value % 32) + 32) % 32;
      value = (value - bits) / 32;
      more = bits & 16 ? value !== -1 : value !== 0;
      text += String.fromCharCode(48 + bits + (more ? 32 : 0));
    }
  });
  return text;
}

/** The cutout of {size: [height, width], counts}; null for an empty mask. Runs go down the columns. */
export function toCutout(rle) {
  const height = rle.size[0], counts = decodeCounts(rle.counts), runs = [];
  let place = 0, left = Infinity, top = Infinity, right = -1, bottom = -1;
  counts.forEach((count, number) => {
    if (number % 2 && count) {
      const first = place, last = place + count - 1;
      runs.push([first, last]);
      const column = Math.floor(first / height), end = Math.floor(last / height);
      left = Math.min(left, column);
      right = Math.max(right, end);
      top = Math.min(top, column === end ? first % height : 0);
      bottom = Math.max(bottom, column === end ? last % height : height - 1);
    }
    place += count;
  });
  if (!runs.length) return null;
  const width = right - left + 1, cutout = {left, top, width, height: bottom - top + 1};
  cutout.bits = new Uint8Array(width * cutout.height);
  for (const [first, last] of runs) {
    for (let p = first; p <= last; p++) {
      cutout.bits[((p % height) - top) * width + Math.floor(p / height) - left] = 1;
    }
  }
  return cutout;
}

/** Run lengths of a cutout in an image of [height, width]. */
export function toRle(cutout, size) {
  const height = size[0], counts = [];
  let value = 0, run = 0, done = 0;
  const add = (bit, length) => {
    if (!length) return;
    if (bit === value) run += length;
    else {
      counts.push(run);
      value = bit;
      run = length;
    }
    done += length;
  };
  add(0, cutout.left * height);
  for (let x = 0; x < cutout.width; x++) {
    add(0, cutout.top);
    for (let y = 0; y < cutout.height; y++) add(cutout.bits[y * cutout.width + x] ? 1 : 0, 1);
    add(0, height - cutout.top - cutout.height);
  }
  add(0, size[0] * size[1] - done);
  counts.push(run);
  return {size: [...size], counts: encodeCounts(counts)};
}

export function contains(cutout, x, y) {
  const column = Math.floor(x) - cutout.left, row = Math.floor(y) - cutout.top;
  return column >= 0 && row >= 0 && column < cutout.width && row < cutout.height && cutout.bits[row * cutout.width + column] === 1;
}

export function area(cutout) {
  return cutout.bits.reduce((sum, bit) => sum + bit, 0);
}

/** The same mask without empty rows and columns at its rim; null where nothing is left. */
export function trimmed({left, top, width, height, bits}) {
  let x0 = width, y0 = height, x1 = -1, y1 = -1;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!bits[y * width + x]) continue;
      if (x < x0) x0 = x;
      if (x > x1) x1 = x;
      if (y < y0) y0 = y;
      if (y > y1) y1 = y;
    }
  }
  return x1 < 0 ? null : cut({left, top, width, height, bits}, left + x0, top + y0, x1 - x0 + 1, y1 - y0 + 1);
}

/** What lies of a mask in another rectangle, smaller or larger. */
export function cut(cutout, left, top, width, height) {
  const bits = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const row = y + top - cutout.top;
    if (row < 0 || row >= cutout.height) continue;
    for (let x = 0; x < width; x++) {
      const column = x + left - cutout.left;
      if (column >= 0 && column < cutout.width) bits[y * width + x] = cutout.bits[row * cutout.width + column];
    }
  }
  return {left, top, width, height, bits};
}
