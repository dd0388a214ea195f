// Makes a photograph small enough before it is sent.

const QUALITY = 0.92; // of JPEG: no loss that could be seen beside that of the scaling

/** The file itself, or a copy of at most `side` pixels a side; what the browser cannot read stays. */
export async function shrink(file, side) {
  const bitmap = await open(file);
  if (!bitmap) return file;
  try {
    const scale = side / Math.max(bitmap.width, bitmap.height);
    if (scale >= 1) return file;
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(bitmap.width * scale));
    canvas.height = Math.max(1, Math.round(bitmap.height * scale));
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    return (await saved(canvas, file)) ?? file;
  } finally {
    bitmap.close();
  }
}

/** The picture, upright as its EXIF says. */
async function open(file) {
  try {
    return await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    return null; // TIFF, for one: the server can read it
  }
}

function saved(canvas, file) {
  // JPEG has no transparency, so only what was JPEG becomes JPEG.
  const jpeg = file.type === "image/jpeg";
  const type = jpeg ? "image/jpeg" : "image/png";
  const stem = file.name.replace(/\.[^.]*$/, "");
  const name = jpeg ? file.name : `${stem}.png`;
  return new Promise((resolve) => {
    canvas.toBlob((blob) => resolve(blob && new File([blob], name, { type })), type, QUALITY);
  });
}
