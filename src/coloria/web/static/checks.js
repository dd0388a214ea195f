// What can be told of a file before it is sent. Pure functions; the server checks everything again.

/** The first bytes of every kind of picture that is taken: [place, bytes]. */
const SIGNATURES = [
  [0, [0xff, 0xd8, 0xff]], // JPEG
  [0, [0x89, 0x50, 0x4e, 0x47]], // PNG
  [0, [0x47, 0x49, 0x46, 0x38]], // GIF
  [8, [0x57, 0x45, 0x42, 0x50]], // WebP
  [0, [0x42, 0x4d]], // BMP
  [0, [0x49, 0x49, 0x2a, 0x00]], // TIFF, little-endian
  [0, [0x4d, 0x4d, 0x00, 0x2a]], // TIFF, big-endian
  [0, [0x49, 0x49, 0x2b, 0x00]], // BigTIFF, little-endian
  [0, [0x4d, 0x4d, 0x00, 0x2b]], // BigTIFF, big-endian
  [4, [0x66, 0x74, 0x79, 0x70]], // AVIF, HEIC
];

const HEAD_BYTES = 12;

/** The ending of a name, in small letters, with its dot. */
export function suffixOf(name) {
  const dot = name.lastIndexOf(".");
  return dot > 0 ? name.slice(dot).toLowerCase() : "";
}

/** Whether the first bytes are those of a picture. */
export function looksLikePicture(bytes) {
  return SIGNATURES.some(([at, wanted]) => wanted.every((byte, i) => bytes[at + i] === byte));
}

/** What is wrong with a file by its name and size: [key, values], or null. */
export function problemOfName(name, bytes, limits) {
  const suffix = suffixOf(name);
  if (!suffix) return ["check.no_suffix", {}];
  if (!limits.suffixes.includes(suffix)) return ["check.suffix", { suffix }];
  if (bytes === 0) return ["check.empty", {}];
  if (bytes > limits.max_bytes) return ["check.bytes", { bytes, limit: limits.max_bytes }];
  return null;
}

/** What is wrong with its content. */
export async function problemOfContent(file) {
  if (file.type && !file.type.startsWith("image/")) return ["check.type", {}];
  try {
    const head = new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer());
    return looksLikePicture(head) ? null : ["check.type", {}];
  } catch {
    return ["check.damaged", {}]; // a folder, or a file that has gone meanwhile
  }
}
