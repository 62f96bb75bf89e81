// From files to what a canvas shows. What a browser cannot decode, or only in 8 bits, the server decodes.

import {ask} from "./api.js";

const PNG = [0x89, 0x50, 0x4e, 0x47], BIT_DEPTH = 24;  // of a PNG: its mark, and the byte of its header that says the depth

async function needsServer(file) {
  if (/\.(tiff?|dcm|dicom)$/i.test(file.name)) return true;
  const head = new Uint8Array(await file.slice(0, 132).arrayBuffer());
  if (PNG.every((byte, place) => head[place] === byte)) return head[BIT_DEPTH] === 16;
  return String.fromCharCode(...head.slice(128, 132)) === "DICM";
}

/** {image, values}: values are {data: Uint16Array, width, height, low, high} where the file has more than 8 bits. */
export async function open(file) {
  if (!(await needsServer(file))) {
    try {
      return {image: await createImageBitmap(file), values: null};
    } catch {
      // a kind of file that this browser does not know; the server may
    }
  }
  return fromAnswer(await ask("/v1/view", {method: "POST", body: file}));
}

export async function fromAnswer(answer) {
  const image = await createImageBitmap(await answer.blob(), {colorSpaceConversion: "none"});
  if (answer.headers.get("X-Values") !== "uint16") return {image, values: null};
  const {width, height} = image, canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const bytes = context.getImageData(0, 0, width, height).data, data = new Uint16Array(width * height);
  for (let k = 0; k < data.length; k++) data[k] = bytes[4 * k] << 8 | bytes[4 * k + 1];
  const [low, high] = answer.headers.get("X-Window").split(",").map(Number), values = {data, width, height, low, high};
  return {image: windowed(values, low, high), values};
}

/** A canvas that shows the values between low (black) and high (white). */
export function windowed({data, width, height}, low, high) {
  const canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d"), shown = context.createImageData(width, height);
  const levels = new Uint32Array(65536), span = Math.max(high - low, 1);
  for (let value = 0; value < 65536; value++) {
    const level = Math.min(255, Math.max(0, Math.round((value - low) * 255 / span)));
    levels[value] = 0xff000000 | level << 16 | level << 8 | level;
  }
  const pixels = new Uint32Array(shown.data.buffer);
  for (let k = 0; k < data.length; k++) pixels[k] = levels[data[k]];
  context.putImageData(shown, 0, 0);
  return canvas;
}
