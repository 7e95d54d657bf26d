"use strict";
// Slices along the grid's own axes on plain canvases: for browsers without WebGL2, pages without NiiVue, and pictures.
// Indices grow to the patient's right, front and head; along the screen both indices of a slice decrease (radiological).
window.PlainView = {
  PLANES: { sagittal: [0, 1, 2], coronal: [1, 0, 2], axial: [2, 0, 1] }, // axis of the slices, across, upward
  EDGES: { sagittal: ["A", "P", "S", "I"], coronal: ["R", "L", "S", "I"], axial: ["R", "L", "A", "P"] },

  open(stage, study, image, mask, tell, settings) {
    const names = study.picture ? ["axial"] : study.planes.filter((name) => {
      const [, across, up] = this.PLANES[name];
      return image.shape[across] > 1 && image.shape[up] > 1;
    });
    const view = Object.assign(Object.create(this), {
      study, image, mask, tell, names, at: image.shape.map((n) => n >> 1), hidden: settings.hidden,
      opacity: settings.opacity, outline: settings.outline, window: settings.window || study.window,
    });
    view.layouts = names.length > 1 ? ["three planes", ...names] : names;
    view.spacing = [0, 1, 2].map((k) => Math.hypot(...image.affine.map((row) => row[k])));
    view.box = document.createElement("div");
    view.box.className = "plain";
    view.panes = names.map((name) => view.pane(name));
    view.box.append(...view.panes.map((pane) => pane.figure));
    stage.querySelector(".waiting")?.remove();
    stage.append(view.box);
    return view;
  },

  pane(name) {
    const [axis, across, up] = this.PLANES[name];
    const figure = document.createElement("figure"), canvas = document.createElement("canvas"), slider = document.createElement("input");
    const [nx, ny] = [this.image.shape[across], this.image.shape[up]];
    canvas.width = nx;
    canvas.height = ny;
    // To keep the pixels' proportions, the stored picture is stretched to whole screen pixels of the finer spacing.
    const finest = Math.min(this.spacing[across], this.spacing[up]);
    const zoom = Math.max(1, Math.min(4, 512 / Math.max(nx, ny)));
    const shown = document.createElement("canvas");
    shown.width = Math.round(nx * this.spacing[across] / finest * zoom);
    shown.height = Math.round(ny * this.spacing[up] / finest * zoom);
    Object.assign(slider, { type: "range", min: 0, max: this.image.shape[axis] - 1, step: 1 });
    slider.setAttribute("aria-label", `${name} slice`);
    slider.oninput = () => { this.at[axis] = Number(slider.value); this.draw(); };
    slider.hidden = this.image.shape[axis] < 2;
    shown.onwheel = (event) => {
      event.preventDefault();
      this.at[axis] = Math.min(this.image.shape[axis] - 1, Math.max(0, this.at[axis] + Math.sign(event.deltaY)));
      this.draw();
    };
    shown.onclick = (event) => {
      const box = shown.getBoundingClientRect(), scale = Math.min(box.width / shown.width, box.height / shown.height);
      const x = (event.clientX - box.left - (box.width - shown.width * scale) / 2) / (shown.width * scale);
      const y = (event.clientY - box.top - (box.height - shown.height * scale) / 2) / (shown.height * scale);
      if (x < 0 || y < 0 || x >= 1 || y >= 1) return;
      this.at[across] = nx - 1 - Math.floor(x * nx);
      this.at[up] = ny - 1 - Math.floor(y * ny);
      this.draw();
    };
    figure.append(shown, slider);
    if (!this.study.picture) {
      const places = ["left:6px;top:45%", "right:6px;top:45%", "left:50%;top:4px", "left:50%;bottom:30px"];
      this.EDGES[name].forEach((letter, k) => {
        const span = document.createElement("span");
        span.textContent = letter;
        span.style = places[k];
        figure.append(span);
      });
    }
    return { name, axis, across, up, figure, canvas, shown, slider };
  },

  draw() {
    for (const pane of this.panes) if (!pane.figure.hidden) this.drawPane(pane);
    const mm = this.image.affine.map((row) => row[0] * this.at[0] + row[1] * this.at[1] + row[2] * this.at[2] + row[3]);
    this.tell(mm);
  },

  drawPane(pane) {
    const { image, mask, study } = this, [low, high] = this.window;
    const nx = pane.canvas.width, ny = pane.canvas.height, stride = [1, image.shape[0], image.shape[0] * image.shape[1]];
    const base = this.at[pane.axis] * stride[pane.axis], dx = stride[pane.across], dy = stride[pane.up];
    const colors = new Map(study.classes.map((one) => [one.number, one.rgb]));
    const context = pane.canvas.getContext("2d"), picture = context.createImageData(nx, ny);
    const slope = (image.slope || 1) * 255 / Math.max(high - low, 1e-6), offset = (image.offset - low) * 255 / Math.max(high - low, 1e-6);
    for (let y = 0; y < ny; y++) {
      for (let x = 0; x < nx; x++) {
        const from = base + (nx - 1 - x) * dx + (ny - 1 - y) * dy, to = 4 * (x + nx * y);
        const gray = image.data[from] * slope + offset, label = mask.data[from];
        let share = label && !this.hidden.has(label) ? this.opacity : 0;
        if (share && this.outline) {
          const inner = x > 0 && y > 0 && x < nx - 1 && y < ny - 1 && mask.data[from + dx] === label && mask.data[from - dx] === label
            && mask.data[from + dy] === label && mask.data[from - dy] === label;
          share = inner ? 0 : 1;
        }
        const rgb = colors.get(label) || [255, 255, 255];
        for (let k = 0; k < 3; k++) picture.data[to + k] = (1 - share) * Math.min(255, Math.max(0, gray)) + share * rgb[k];
        picture.data[to + 3] = 255;
      }
    }
    context.putImageData(picture, 0, 0);
    const shown = pane.shown.getContext("2d"), fx = pane.shown.width / nx, fy = pane.shown.height / ny;
    shown.imageSmoothingEnabled = false;
    shown.drawImage(pane.canvas, 0, 0, pane.shown.width, pane.shown.height);
    if (!study.picture) {
      const x = (nx - 0.5 - this.at[pane.across]) * fx, y = (ny - 0.5 - this.at[pane.up]) * fy;
      shown.strokeStyle = "rgba(255, 211, 107, 0.55)";
      shown.beginPath();
      shown.moveTo(x, 0); shown.lineTo(x, pane.shown.height);
      shown.moveTo(0, y); shown.lineTo(pane.shown.width, y);
      shown.stroke();
    }
    pane.slider.value = this.at[pane.axis];
  },

  close() { this.box.remove(); },
  setHidden(hidden) { this.hidden = hidden; this.draw(); },
  setOpacity(share) { this.opacity = share; this.draw(); },
  setOutline(on) { this.outline = on; this.draw(); },
  setWindow(low, high) { this.window = [low, high]; this.draw(); },
  setLayout(name) {
    const all = name === "three planes" && this.panes.length > 1;
    for (const pane of this.panes) pane.figure.hidden = !all && pane.name !== name;
    this.box.classList.toggle("one", !all);
    this.draw();
  },
  goTo(mm) {
    const m = this.image.affine, [a, b, c] = m.map((row, k) => mm[k] - row[3]);
    // With a tilted gantry the affine's columns are not orthogonal, so the system is solved; projecting would be wrong.
    const det = (p, q, r) => p[0] * (q[1] * r[2] - q[2] * r[1]) - q[0] * (p[1] * r[2] - p[2] * r[1]) + r[0] * (p[1] * q[2] - p[2] * q[1]);
    const column = (k) => m.map((row) => row[k]), whole = det(column(0), column(1), column(2)), to = [a, b, c];
    const voxel = [det(to, column(1), column(2)), det(column(0), to, column(2)), det(column(0), column(1), to)].map((v) => v / whole);
    this.at = voxel.map((v, k) => Math.min(this.image.shape[k] - 1, Math.max(0, Math.round(v))));
    this.draw();
  },
  async drawn() { await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))); },
};
