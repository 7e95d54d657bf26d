"use strict";
// Unpacks image and mask, shows them in the plain view at once, then in NiiVue if it and WebGL2 are available, and ties
// the controls to the view. The tests look at `window.report`.
(() => {
  const study = JSON.parse(document.getElementById("study").textContent);
  const stage = document.getElementById("stage");
  const SLOW_VOXELS = 4e6;
  const PLAIN = "Radiological convention: the patient's right is at the left. Slices follow the image's own grid.";
  const WINDOWS_HU = { "soft tissue": [-160, 240], lung: [-1350, 150], bone: [-450, 1050], brain: [0, 80] };

  async function unpacked(id) {
    const text = document.getElementById(id).textContent.trim();
    if (!text) return null;
    const binary = atob(text);
    const bytes = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  }

  // A NIfTI-1 file as Python wrote it: little-endian, sform, no extension.
  function volumeOf(buffer) {
    const head = new DataView(buffer);
    const shape = [42, 44, 46].map((at) => Math.max(1, head.getInt16(at, true)));
    const type = head.getInt16(70, true), start = head.getFloat32(108, true);
    const affine = [280, 296, 312].map((at) => [0, 4, 8, 12].map((k) => head.getFloat32(at + k, true)));
    const data = type === 2 ? new Uint8Array(buffer, start) : new Int16Array(buffer, start);
    return { shape, affine, data, buffer, slope: head.getFloat32(112, true), offset: head.getFloat32(116, true) };
  }

  function blankLike(mask) { // the mask alone: a black image of the same grid
    const buffer = new ArrayBuffer(mask.buffer.byteLength);
    new Uint8Array(buffer).set(new Uint8Array(mask.buffer, 0, 352));
    return volumeOf(buffer);
  }

  function inverse(affine) { // mm to voxel, by Cramer's rule
    const [[a, b, c, x], [d, e, f, y], [g, h, i, z]] = affine;
    const det = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
    const m = [[e * i - f * h, c * h - b * i, b * f - c * e], [f * g - d * i, a * i - c * g, c * d - a * f],
      [d * h - e * g, b * g - a * h, a * e - b * d]];
    return (mm) => m.map((row) => (row[0] * (mm[0] - x) + row[1] * (mm[1] - y) + row[2] * (mm[2] - z)) / det);
  }

  function valueAt(volume, voxel) {
    const [i, j, k] = voxel.map(Math.round), [nx, ny, nz] = volume.shape;
    if (i < 0 || j < 0 || k < 0 || i >= nx || j >= ny || k >= nz) return null;
    return volume.data[i + nx * (j + ny * k)] * (volume.slope || 1) + volume.offset;
  }

  function tellPosition(image, mask, toVoxel, mm) {
    const voxel = toVoxel(mm), label = valueAt(mask, voxel), value = valueAt(image, voxel);
    if (label === null) return;
    const side = ["LR", "PA", "IS"];
    const where = study.picture
      ? `column ${Math.round(image.shape[0] - 1 - voxel[0])}, row ${Math.round(image.shape[1] - 1 - voxel[1])}`
      : mm.map((v, k) => `${side[k][v < 0 ? 0 : 1]} ${Math.abs(v).toFixed(1)}`).join("  ") + " mm";
    const name = label ? (study.classes.find((one) => one.number === label) || { name: `class ${label}` }).name : "no class";
    const shown = study.has_image ? `${+value.toFixed(2)}${study.unit ? " " + study.unit : ""}` : "";
    document.getElementById("position").textContent = [where, shown, name].filter(Boolean).join("   ·   ");
  }

  function fill(select, names) {
    select.replaceChildren(...names.map((name) => new Option(name, name)));
  }

  const boxes = [...document.querySelectorAll("[data-class]")];
  const opacity = document.getElementById("opacity"), outline = document.getElementById("outline");
  const layout = document.getElementById("layout"), choice = document.getElementById("window");
  const hidden = () => new Set(boxes.filter((box) => !box.checked).map((box) => Number(box.dataset.class)));
  const note = (text) => { document.getElementById("viewer-note").textContent = text; };
  let windows = {}, place = study.center_mm, tell = () => {};

  function listWindows(image) {
    windows = study.unit === "HU" ? { ...WINDOWS_HU } : { automatic: study.window };
    if (study.has_image) {
      let low = Infinity, high = -Infinity;
      for (const v of image.data) { if (v < low) low = v; if (v > high) high = v; }
      windows["all values"] = [low, high].map((v) => v * (image.slope || 1) + image.offset);
    }
    fill(choice, Object.keys(windows));
    document.getElementById("window-control").hidden = !study.has_image;
  }

  // The current settings of the controls: a view starts with them, so that one view can take over from another.
  function settings() {
    return { hidden: hidden(), opacity: opacity.value / 100, outline: outline.checked, window: windows[choice.value] };
  }

  function tie(view) {
    const before = layout.value || study.layout, at = place; // laying out a view may report another place
    fill(layout, view.layouts);
    document.getElementById("layout-control").hidden = view.layouts.length < 2;
    layout.value = view.layouts.includes(before) ? before : view.layouts[0];
    layout.onchange = () => view.setLayout(layout.value);
    choice.onchange = () => view.setWindow(...windows[choice.value]);
    opacity.oninput = () => view.setOpacity(opacity.value / 100);
    outline.onchange = () => view.setOutline(outline.checked);
    for (const box of boxes) box.onchange = () => view.setHidden(hidden());
    view.setLayout(layout.value);
    view.goTo(at);
    window.report.view = view;
  }

  // Without a graphics card, NiiVue takes seconds per change of a large volume: the plain view is quicker there.
  function tooSlowHere(image) {
    const gl = document.createElement("canvas").getContext("webgl2");
    const told = gl?.getExtension("WEBGL_debug_renderer_info");
    const name = told ? gl.getParameter(told.UNMASKED_RENDERER_WEBGL) : "";
    gl?.getExtension("WEBGL_lose_context")?.loseContext();
    return /swiftshader|llvmpipe|software|basic render/i.test(name) && image.data.length > SLOW_VOXELS;
  }

  async function toNiivue(plain, image, mask) {
    try {
      const view = await window.NiivueView.open(stage, study, image, mask, (mm) => { place = mm; tell(mm); }, settings());
      plain.close();
      tie(view);
      await view.drawn();
      window.report.niivue_ms = performance.now();
      note("Radiological convention: the patient's right is at the left. Scroll to change slices, click to move the crosshair, " +
        "drag with the right button to change the window.");
    } catch (error) {
      note(`NiiVue could not start here (${error.message}): this is the plain viewer. ${PLAIN}`);
    }
  }

  async function start() {
    const maskBuffer = await unpacked("mask"), imageBuffer = await unpacked("image");
    const mask = volumeOf(maskBuffer), image = imageBuffer ? volumeOf(imageBuffer) : blankLike(mask);
    const toVoxel = inverse(mask.affine);
    tell = (mm) => tellPosition(image, mask, toVoxel, mm);
    listWindows(image);
    const plain = window.PlainView.open(stage, study, image, mask, (mm) => { place = mm; tell(mm); }, settings());
    tie(plain);
    await plain.drawn();
    window.report.shape = image.shape;
    window.report.first_picture_ms = performance.now();
    if (study.picture) {
      note("Click to read a pixel.");
    } else if (!window.NiivueView) {
      note(`${study.plain_reason} ${PLAIN}`);
    } else if (tooSlowHere(image) && !location.hash.includes("niivue")) {
      note(`This browser draws without a graphics card, so this is the plain viewer. ${PLAIN} `);
      const button = document.createElement("button");
      button.textContent = "Open in NiiVue anyway";
      button.onclick = () => { button.remove(); return toNiivue(plain, image, mask); };
      document.getElementById("viewer-note").append(button);
    } else {
      await toNiivue(plain, image, mask);
    }
  }

  window.report = {};
  window.report.ready = start().catch((error) => {
    window.report.failure = String(error);
    stage.querySelector(".waiting")?.replaceChildren(`The viewer could not start: ${error.message}. The slices below do not need it.`);
    document.querySelector("details")?.setAttribute("open", "");
  });
})();
