"use strict";
// The study in NiiVue: slices in mm, radiological convention, the mask as a label overlay in the classes' own colors.
window.NiivueView = {
  layouts: ["three planes", "axial", "coronal", "sagittal", "3D"],

  async open(stage, study, image, mask, tell, settings) {
    if (!document.createElement("canvas").getContext("webgl2")) throw new Error("the browser offers no WebGL2");
    const canvas = document.createElement("canvas");
    canvas.className = "niivue";
    stage.append(canvas);
    try {
      const nv = new niivue.Niivue({
        backColor: [0, 0, 0, 1], crosshairColor: [1, 0.83, 0.42, 0.8], crosshairWidth: 0.25, crosshairGap: 8, loadingText: "",
        isRadiologicalConvention: true, isSliceMM: true, sagittalNoseLeft: true, dragAndDropEnabled: false,
        multiplanarShowRender: 0, showAllOrientationMarkers: true, isOrientCube: false, fontColor: [1, 0.83, 0.42, 1],
        gradientOrder: 1, atlasOutline: settings.outline ? 1 : 0, logLevel: "error",
      });
      await nv.attachToCanvas(canvas);
      const [low, high] = settings.window || study.window;
      const picture = await niivue.NVImage.loadFromUrl({ url: image.buffer, name: "image.nii", cal_min: low, cal_max: high });
      const overlay = await niivue.NVImage.loadFromUrl({ url: mask.buffer, name: "mask.nii", opacity: settings.opacity });
      const view = Object.assign(Object.create(this), { nv, overlay, study });
      view.color(settings.hidden);
      nv.updateGLVolume = () => {}; // both volumes go to the graphics card together, so that the first is not sent twice
      nv.addVolume(picture);
      delete nv.updateGLVolume;
      nv.addVolume(overlay);
      nv.onLocationChange = (place) => tell([...place.mm].slice(0, 3));
      return view;
    } catch (error) {
      canvas.remove();
      throw error;
    }
  },

  refreshMask() { // only the mask: the image's own layer is costly to redraw
    this.nv.refreshLayers(this.overlay, 1);
    this.nv.drawScene();
  },

  color(hidden) {
    const table = { R: [0], G: [0], B: [0], A: [0], I: [0], labels: [""] };
    for (let n = 1; n <= Math.max(1, this.study.highest); n++) {
      const one = this.study.classes.find((c) => c.number === n) || { rgb: [255, 255, 255], name: `class ${n}` };
      table.R.push(one.rgb[0]); table.G.push(one.rgb[1]); table.B.push(one.rgb[2]);
      table.A.push(hidden.has(n) ? 0 : 255); table.I.push(n); table.labels.push("");
    }
    this.overlay.setColormapLabel(table);
  },

  setHidden(hidden) { this.color(hidden); this.refreshMask(); },
  setOpacity(share) { this.overlay.opacity = share; this.refreshMask(); },
  setOutline(on) { this.nv.opts.atlasOutline = on ? 1 : 0; this.refreshMask(); },
  setWindow(low, high) {
    this.nv.volumes[0].cal_min = low;
    this.nv.volumes[0].cal_max = high;
    this.nv.updateGLVolume();
  },
  setLayout(name) {
    const types = { axial: 0, coronal: 1, sagittal: 2, "3D": 4 };
    if (name in types) {
      this.nv.clearCustomLayout();
      this.nv.setSliceType(types[name]);
      return;
    }
    const [first, second, third] = this.study.planes.map((plane) => types[plane]); // the plane of the slices is the large one
    this.nv.setCustomLayout([
      { sliceType: first, position: [0, 0, 0.62, 1] },
      { sliceType: second, position: [0.62, 0, 0.38, 0.5] },
      { sliceType: third, position: [0.62, 0.5, 0.38, 0.5] },
    ]);
  },
  goTo(mm) {
    this.nv.scene.crosshairPos = this.nv.mm2frac(mm);
    this.nv.drawScene();
    this.nv.createOnLocationChange();
  },
  async drawn() {
    this.nv.drawScene();
    this.nv.gl.finish();
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  },
};
